from dataclasses import replace

import pytest

from study.metrics.description import Description
from study.tracking.result import Origin, Result
from study.tracking.summary import sentence, summary
from tests.tracking.results import TAGS, written

CHURN = Description(label="churn", unit="rate", role="broken")


@pytest.fixture
def result(tmp_path):
    """Accuracy 90 to 93.75 % of 80 test inputs, five of eight errors repaired, two inputs newly broken."""
    result = Result.read(written(tmp_path / "job"))
    result.properties["churn"], result.metrics["after/churn"] = CHURN, 2 / 80
    return result


def test_a_sentence_says_what_was_done_and_what_came_of_it(result):
    assert sentence(result) == (
        "arachne population=50 on digits / mlp, faulty.epochs=2 (seed 0): accuracy 90.00 to 93.75 %, "
        "5 of 8 failing test inputs repaired, 2 newly broken."
    )


def test_rates_stand_where_the_number_of_inputs_is_not_known(result):
    result.origin = Origin(faulty="f0")

    assert sentence(result).endswith("62.50% of the failing test inputs repaired, 2.50% of all newly broken.")


def test_metrics_are_found_by_their_role(result):
    result.properties = {"churn": replace(CHURN, role=None)}

    assert sentence(result) == "arachne population=50 on digits / mlp, faulty.epochs=2 (seed 0)."


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (
            {"outcome": "unadaptable", "reason": "needs BatchNorm"},
            "arachne on digits / mlp: unadaptable (needs BatchNorm).",
        ),
        ({"outcome": "failure"}, "arachne on digits / mlp: failure."),
        ({"outcome": "faulty"}, "The faulty model of digits / mlp: accuracy 90.00 %."),
    ],
)
def test_without_a_repair_it_says_so(result, tags, expected):
    result.tags = {name: TAGS[name] for name in ("method", "dataset", "architecture")} | tags
    result.metrics = {"before/accuracy": 0.9} if tags["outcome"] == "faulty" else {}

    assert sentence(result) == expected


def test_nothing_is_said_of_a_rate_of_nothing(result):
    result.metrics |= {"before/accuracy": 1.0, "after/repair_rate": float("nan")}

    assert "repaired" not in sentence(result)


@pytest.mark.parametrize(
    ("after", "guard", "expected"),
    [
        (0.97, "False", "98.00% to 97.00%: method.guard=true hands over no such repair)"),
        (0.97, None, "(validation accuracy falls from 98.00% to 97.00%)"),
        (0.98, "False", ""),
        (None, "False", ""),
    ],
)
def test_a_repair_that_lowers_validation_accuracy_says_so(result, after, guard, expected):
    result.metrics["before/validation_accuracy"] = 0.98
    if after is not None:
        result.metrics["after/validation_accuracy"] = after
    if guard is not None:
        result.params["method.guard"] = guard
    assert ("falls" in summary(result)) == bool(expected)
    assert summary(result).endswith(expected)
