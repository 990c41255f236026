import pandas as pd

from study.report.properties import present


def test_only_what_was_logged_is_a_column_in_a_fixed_order() -> None:
    runs = pd.DataFrame({"time/repair": [1.0], "after/aaod": [float("nan")], "before/accuracy": [0.9], "seed": ["0"]})
    assert [item.key for item in present(runs)] == ["accuracy", "time"]


def test_curves_and_figures_per_class_are_no_properties() -> None:
    runs = pd.DataFrame({"after/ece": [0.1], "after/recall/3": [0.9], "stage/loss": [1.0]})
    assert [(item.key, item.label) for item in present(runs)] == [("ece", "ece")]
