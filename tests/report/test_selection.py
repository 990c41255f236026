import pandas as pd
import pytest

from study.errors import UsageError
from study.report.selection import Filters, newest, select


def _runs(*rows: tuple[str, str, int, bool, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["method", "dataset", "ended", "finished", "sweep"])
    return frame.assign(subject=frame["dataset"], row=frame["method"], group=0, seed="0")


def test_the_newest_finished_run_counts_even_if_a_newer_one_crashed() -> None:
    runs = _runs(("care", "d", 1, True, ""), ("care", "d", 2, True, ""), ("care", "d", 3, False, ""))
    current, left_out = newest(runs)
    assert list(current["ended"]) == [2]
    assert left_out == 1


def test_a_crashed_run_counts_only_where_none_finished() -> None:
    current, left_out = newest(_runs(("care", "d", 1, False, ""), ("care", "d", 2, False, "")))
    assert list(current["ended"]) == [2]
    assert left_out == 0


def test_no_filter_keeps_all(frame: pd.DataFrame) -> None:
    assert len(select(frame, Filters())) == len(frame)


def test_filters_are_combined() -> None:
    runs = _runs(("care", "d", 1, True, "a"), ("vere", "d", 2, True, "a"), ("care", "e", 3, True, "b"))
    assert list(select(runs, Filters(sweep=("a", "b"), dataset=("d",), method=("care",)))["ended"]) == [1]


def test_a_chosen_approach_keeps_the_faulty_model_of_its_subjects_only() -> None:
    runs = _runs(("care", "d", 1, True, ""), ("none", "d", 2, True, ""), ("none", "e", 3, True, ""))
    assert list(select(runs, Filters(method=("care",)))["ended"]) == [1, 2]


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        (Filters(method=("aracne",)), "--method: no run has method 'aracne'; did you mean arachne?"),
        (Filters(dataset=("minst",)), "--dataset: no run has dataset 'minst'; did you mean mnist?"),
        (Filters(sweep=("third",)), "--sweep: no run has sweep 'third'; there are: first, second"),
        (Filters(dataset=("digits",), method=("arachne",)), "no run passes all of --dataset digits --method arachne"),
    ],
)
def test_what_no_run_has_is_refused(frame: pd.DataFrame, filters: Filters, sentence: str) -> None:
    with pytest.raises(UsageError) as refusal:
        select(frame, filters)
    assert sentence in str(refusal.value)
