import math

import pandas as pd
import pytest

from study.metrics.description import Description
from study.report.properties import Property, present, reasons, stated, union
from study.tracking.run import statements

ACCURACY = Property("accuracy", "accuracy", "rate", higher_is_better=True, role="accuracy")
AAOD = Property("aaod", "AAOD", "rate", higher_is_better=False)
TIME = Property("time/repair", "repair time", "seconds", higher_is_better=False)


def _runs(*properties: tuple[Property, ...], **metrics: list[float]) -> pd.DataFrame:
    """Runs from the newest to the oldest, and the properties that each states."""
    frame = pd.DataFrame({"ended": range(len(properties), 0, -1), **metrics})
    states = [{item.key: item for item in run} for run in properties]
    return frame.assign(properties=states, not_applicable=[dict[str, str]() for _ in properties])


def test_only_what_was_logged_is_a_column_in_the_order_of_the_runs() -> None:
    metrics = {"time/repair": [1.0], "after/aaod": [float("nan")], "before/accuracy": [0.9], "seed": ["0"]}
    assert present(_runs((ACCURACY, AAOD, TIME), **metrics)) == (ACCURACY, TIME)
    assert present(_runs((TIME, AAOD, ACCURACY), **metrics)) == (TIME, ACCURACY)


def test_curves_and_figures_per_class_are_no_properties() -> None:
    runs = _runs((), **{"after/ece": [0.1], "after/recall/3": [0.9], "stage/loss": [1.0]})
    assert [(item.key, item.label) for item in present(runs)] == [("ece", "ece")]


def test_the_newest_description_counts_and_older_runs_add_theirs_in_their_place() -> None:
    renamed, own = Property("accuracy", "share right", "rate"), Property("own", "own")
    logged = {metric: [1.0, 1.0, 1.0] for metric in ("after/accuracy", "after/aaod", "after/own", "time/repair")}
    runs = _runs((), (renamed, TIME), (own, ACCURACY, AAOD, TIME), **logged)
    expected = (own, renamed, AAOD, TIME)
    assert present(runs) == expected
    assert present(runs.sample(frac=1, random_state=0)) == expected


def test_a_run_to_which_a_property_does_not_apply_describes_it_only_where_no_other_does() -> None:
    vague, exact = Property("flips", "flips", summary=False), Property("flips", "flips", protocol="500 programs")
    runs = _runs((vague, ACCURACY), (exact, ACCURACY), **{"after/flips": [math.nan, 0.1], "after/accuracy": [0.8, 0.8]})
    runs["not_applicable"] = [{"flips": "no programs"}, {}]
    assert present(runs) == (exact, ACCURACY)
    assert union(runs[:1]) == (vague, ACCURACY)


def test_what_tracking_writes_is_read_back_whole() -> None:
    whole = Description(
        label="ASR",
        unit="rate",
        higher_is_better=False,
        meaning="of right inputs, the share that PGD turns wrong: “ü”",
        protocol="PGD, 40 steps",
        summary=False,
        role="broken",
        maskable=True,
    )
    tags = statements({"x": Description(label="x"), "asr": whole}, {"x": "no groups", "aaod": "none"})
    assert stated(dict(reversed(tags.items()))) == {
        "x": Property("x", "x"),
        "asr": Property(
            "asr", "ASR", "rate", False, whole.meaning, "PGD, 40 steps", summary=False, role="broken", maskable=True
        ),
    }
    assert list(stated(dict(reversed(tags.items())))) == ["x", "asr"]
    assert reasons(tags) == {"x": "no groups", "aaod": "none"}


@pytest.mark.parametrize("text", ["{", "[1]", "3", "null", '{"label":"x"}', '{"place":0}', '{"place":"?","label":"x"}'])
def test_a_tag_that_cannot_be_read_is_passed_over(text: str) -> None:
    good = {"metric.churn": '{"place":1,"label":"churn"}', "method": "arachne"}
    assert stated({**good, "metric.broken": text}) == {"churn": Property("churn", "churn")}
    assert reasons({"not_applicable": text[:3]}) == reasons({}) == {}


def test_what_a_later_version_adds_is_ignored() -> None:
    later = {"metric.churn": '{"place":0,"label":"churn","unit":"furlongs","since":"2.0"}'}
    assert stated(later) == {"churn": Property("churn", "churn", "number")}
