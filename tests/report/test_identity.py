"""Which runs belong together; what the same questions look like through the command line is in test_subjects."""

import pandas as pd

from study.report.identity import identified

OLD, NEW = {"asr": "10 steps"}, {"asr": "40 steps"}


def _runs(*rows: tuple[str, str, dict[str, str]]) -> pd.DataFrame:
    """Runs (subject, row, measures), newest first, all of one name."""
    frame = pd.DataFrame(rows, columns=["subject", "row", "measures"])
    return identified(frame.assign(subject_name="digits / mlp", approach="arachne"))


def test_a_run_without_keys_is_taken_for_the_newest_of_its_name() -> None:
    runs = _runs(("", "", {}), ("s2", "r2", {}), ("s1", "r1", {}))
    assert list(runs["subject"]) == ["s2", "s2", "s1"]
    assert list(runs["row"]) == ["r2", "r2", "r1"]


def test_runs_without_keys_alone_go_by_their_names() -> None:
    runs = _runs(("", "", {}), ("", "", {}))
    assert set(runs["subject"]) == {"digits / mlp"} and set(runs["row"]) == {"arachne"}


def test_runs_of_a_row_that_measured_one_property_differently_are_kept_apart() -> None:
    runs = _runs(("s", "r", NEW), ("s", "r", {}), ("s", "r", OLD), ("s", "r", NEW | {"own": "x"}), ("s", "q", OLD))
    assert list(runs["group"]) == [0, 0, 1, 0, 0]


def test_a_run_that_measured_less_fits_every_group() -> None:
    assert list(_runs(("s", "r", {"accuracy": "x"}), ("s", "r", NEW), ("s", "r", OLD))["group"]) == [0, 0, 1]
