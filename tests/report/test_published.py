import pytest

from study.report.published import published


def test_percent_becomes_rates_and_seconds_stay() -> None:
    arachne = published("arachne", "mnist")
    assert arachne is not None and arachne.outcome == "repaired"
    assert arachne.figures == pytest.approx(
        {
            "accuracy": 0.9775,
            "repair_rate": 0.1270,
            "attack_success_rate": 0.8573,
            "negative_flip_rate": 0.0041,
            "time/repair": 72.0,
        }
    )
    assert arachne.gains == pytest.approx({"accuracy": -0.0015, "attack_success_rate": -0.0329})


def test_the_odds_difference_is_a_fraction_already() -> None:
    apricot = published("apricot", "utkface")
    assert apricot is not None
    assert apricot.figures["aaod"] == pytest.approx(0.0140)
    assert apricot.gains["aaod"] == pytest.approx(0.3053)


def test_full_stands_beside_the_same_publication() -> None:
    assert (
        published("full/apricot", "mnist") == published("published/apricot", "mnist") == published("apricot", "mnist")
    )


def test_an_outcome_without_figures() -> None:
    vere = published("vere", "mnist")
    assert vere is not None
    assert (vere.outcome, vere.figures, vere.gains) == ("unadaptable", {}, {})


def test_what_was_not_published() -> None:
    assert published("finetune", "mnist") is None
    assert published("arachne", "digits") is None
