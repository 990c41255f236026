import statistics
from dataclasses import replace

import pandas as pd
import pytest

from study.report.comparison import Comparison, Row, Subject, compare
from study.report.identity import identified
from study.report.properties import Property
from study.report.selection import newest
from tests.report.store import repeated


@pytest.fixture(scope="module")
def comparison(frame: pd.DataFrame) -> Comparison:
    return compare(*newest(frame))


@pytest.fixture(scope="module")
def mnist(comparison: Comparison) -> Subject:
    return next(subject for subject in comparison.subjects if subject.dataset == "mnist")


def _row(subject: Subject, method: str) -> Row:
    return next(row for row in subject.rows if row.method == method)


def test_rows_go_by_level_then_method(mnist: Subject) -> None:
    assert [row.method for row in mnist.rows] == [
        "apricot", "finetune", "full/joint", "reassure", "arachne", "care", "vere",
    ]  # fmt: skip


def test_mean_and_sample_deviation_over_seeds(mnist: Subject) -> None:
    figure = _row(mnist, "finetune").figures["repair_rate"]
    assert (figure.mean, figure.n) == (pytest.approx(0.55), 2)
    assert figure.spread == pytest.approx(statistics.stdev([0.5, 0.6]))
    accuracy = _row(mnist, "finetune").figures["accuracy"]
    assert accuracy.gain == pytest.approx((0.94 - 0.9) / 0.9)
    assert accuracy.change is not None
    assert accuracy.change.mean == pytest.approx(0.04)
    assert accuracy.change.spread == pytest.approx(statistics.stdev([0.03, 0.05]))


def test_one_seed_has_no_spread(mnist: Subject) -> None:
    assert _row(mnist, "apricot").figures["repair_rate"].spread is None


def test_an_older_run_is_left_out_and_counted(comparison: Comparison, mnist: Subject) -> None:
    assert comparison.left_out == 1
    assert _row(mnist, "arachne").figures["accuracy"].mean == pytest.approx(0.905)


@pytest.mark.parametrize(
    ("key", "best"),
    [
        ("accuracy", "full/joint"),  # higher is better
        ("repair_rate", "full/joint"),
        ("negative_flip_rate", "arachne"),  # lower is better; reassure changed nothing and does not compete
        ("attack_success_rate", "full/joint"),  # apricot's 0.20 is masked gradients
        ("time/repair", "arachne"),
    ],
)
def test_best_of_each_column(frame: pd.DataFrame, key: str, best: str) -> None:
    (mnist,) = compare(*newest(repeated(frame[frame["dataset"] == "mnist"]))).subjects
    assert [row.method for row in mnist.rows if key in row.figures and row.figures[key].best] == [best]


@pytest.mark.parametrize("seeds", [1, 2])
def test_nothing_is_best_with_fewer_than_three_seeds(frame: pd.DataFrame, seeds: int) -> None:
    comparison = compare(*newest(repeated(frame, seeds)))
    assert not any(own.best for subject in comparison.subjects for row in subject.rows for own in row.figures.values())


def test_nothing_is_best_where_nothing_competes(comparison: Comparison) -> None:
    digits = comparison.subjects[0]
    assert not any(figure.best for row in digits.rows for figure in row.figures.values())


def test_outcomes_with_reasons_stand_for_missing_numbers(mnist: Subject) -> None:
    vere = _row(mnist, "vere")
    assert (vere.word, vere.figures) == ("unadaptable", {})
    assert vere.outcomes[0].reasons == ("needs BatchNorm: LeNet5 has none",)
    assert _row(mnist, "care").word == "crashed"


def test_a_partly_failed_approach_keeps_the_numbers_of_its_repairs(mnist: Subject) -> None:
    arachne = _row(mnist, "arachne")
    assert [(outcome.word, outcome.n) for outcome in arachne.outcomes] == [("repaired", 1), ("failure", 1)]
    assert arachne.figures["repair_rate"].n == 1
    assert arachne.word == ""


def test_controls_and_masking_are_marked(mnist: Subject) -> None:
    assert [row.method for row in mnist.rows if row.control] == ["finetune"]
    assert [row.method for row in mnist.rows if row.masked] == ["apricot"]
    assert [row.method for row in mnist.rows if row.unchanged] == ["reassure"]


def test_the_faulty_model_is_what_its_own_runs_measured(comparison: Comparison) -> None:
    faulty = comparison.subjects[0].faulty.figures["accuracy"]
    assert (faulty.mean, faulty.n) == (pytest.approx(0.93), 2)


def test_the_faulty_model_without_own_runs_is_what_the_others_saw_once_per_seed(mnist: Subject) -> None:
    faulty = mnist.faulty.figures["accuracy"]
    assert (faulty.mean, faulty.n) == (pytest.approx(0.9), 2)
    assert "repair_rate" not in mnist.faulty.figures


def test_published_figures_stand_beside_the_bare_approach_only(frame: pd.DataFrame) -> None:
    guarded = frame.assign(safeguard="voting", approach=frame["approach"] + " + voting", row=frame["row"] + "+")
    rows = {row.name: row for row in compare(pd.concat([frame, guarded], ignore_index=True)).subjects[1].rows}
    assert rows["arachne"].published is not None
    assert rows["arachne + voting"].published is None


def test_a_metric_that_no_run_describes_is_shown_but_not_ranked(comparison: Comparison) -> None:
    churn = next(item for item in comparison.properties if item.key == "churn")
    assert churn.higher_is_better is None
    assert comparison.subjects[0].rows[0].figures["churn"].mean == 0.25


def test_a_tie_of_all_has_no_best(frame: pd.DataFrame) -> None:
    runs = repeated(frame[frame["dataset"] == "mnist"]).assign(**{"time/repair": 7.0})
    (subject,) = compare(*newest(runs)).subjects
    assert not any(row.figures["time/repair"].best for row in subject.rows if "time/repair" in row.figures)


def _with(frame: pd.DataFrame, item: Property, values: list[float]) -> pd.DataFrame:
    """The runs of mnist with a further metric, which they describe."""
    runs = frame[(frame["dataset"] == "mnist") & frame["method"].isin(["apricot", "full/joint"])]
    measured = runs.assign(**{item.metric: values})
    return measured.assign(properties=[{**stated, item.key: item} for stated in measured["properties"]])


@pytest.mark.parametrize(("higher", "best"), [(True, 0.4), (False, 0.1), (None, None)])
def test_a_metric_of_ones_own_is_ranked_as_it_describes_itself(
    frame: pd.DataFrame, higher: bool | None, best: float | None
) -> None:
    churn = Property("churn", "churn", "rate", higher_is_better=higher)
    comparison = compare(repeated(_with(frame, churn, [0.1, 0.4])))
    assert churn in comparison.properties
    figures = [row.figures["churn"] for row in comparison.subjects[0].rows]
    assert sorted(figure.mean for figure in figures) == pytest.approx([0.1, 0.4])
    assert [figure.mean for figure in figures if figure.best] == pytest.approx([] if best is None else [best])


def test_a_masked_gradient_disqualifies_only_what_it_flatters(frame: pd.DataFrame) -> None:
    runs = frame[frame["dataset"] == "mnist"]
    runs = runs.assign(**{"after/accuracy": runs["after/accuracy"] + 0.03 * (runs["method"] == "apricot")})
    (subject,) = compare(*newest(repeated(runs))).subjects
    best = {key: row.method for row in subject.rows for key, figure in row.figures.items() if figure.best}
    # Of all ASRs apricot's is the lowest, but masked.
    assert best["accuracy"] == "apricot" and best["attack_success_rate"] == "full/joint"


def test_what_applies_to_no_run_has_a_reason_and_no_column(comparison: Comparison, mnist: Subject) -> None:
    assert "aaod" not in [item.key for item in comparison.properties]
    assert [(item.label, reason) for item, reason in comparison.not_applicable] == [
        ("AAOD", "the data set has no sensitive groups")
    ]
    assert _row(mnist, "finetune").not_applicable == {"aaod": "the data set has no sensitive groups"}


def test_a_figure_says_how_it_was_measured_in_its_own_runs(frame: pd.DataFrame) -> None:
    runs = frame[(frame["dataset"] == "mnist") & (frame["outcome"] == "repaired")].head(2)
    protocols = ["PGD, 500 inputs", "PGD, 493 inputs"]
    item = runs.iloc[0]["properties"]["attack_success_rate"]
    stated = [{item.key: replace(item, protocol=protocol)} for protocol in protocols]
    runs = runs.assign(method="apricot", approach="apricot", row="r", seed=["0", "1"], properties=stated)
    (subject,) = compare(runs.assign(subject_seed=runs["seed"])).subjects
    assert subject.rows[0].figures["attack_success_rate"].protocol == "PGD, 493 inputs\nPGD, 500 inputs"
    assert subject.faulty.figures["attack_success_rate"].protocol == "PGD, 493 inputs\nPGD, 500 inputs"
    assert subject.rows[0].figures["accuracy"].protocol == ""


def test_rows_of_one_repair_name_it_alike_whatever_the_safeguard_and_the_measures(frame: pd.DataFrame) -> None:
    one = frame[frame["method"] == "full/joint"].iloc[0]
    few, many = {"metric.samples": "10"}, {"metric.samples": "500"}
    longer = {"method.epochs": "9"}
    told = [
        {"row": "bare", "params": few, "measures": {"asr": "10"}},
        {"row": "bare", "params": many, "measures": {"asr": "500"}},
        {"row": "guarded", "params": many, "safeguard": "unanimity", "approach": "full/joint + unanimity"},
        {"row": "other", "params": few | longer, "approach": "full/joint"},
    ]
    runs = pd.DataFrame([one.to_dict() | {"measures": {}} | own for own in told])
    (subject,) = compare(identified(runs)).subjects
    repairs = sorted((row.safeguard, row.repair) for row in subject.rows)
    bare = [("none", "full/joint"), ("none", "full/joint"), ("none", "full/joint, method.epochs=9")]
    assert repairs == [*bare, ("unanimity", "full/joint")]
