from dataclasses import replace

import pytest

from study.report import formats
from study.report.comparison import Row, Subject
from study.report.figures import Change, Figure
from study.report.properties import Property


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4213, "0.42 s"),
        (13.24, "13.2 s"),
        (59.4, "59 s"),
        (59.7, "1 min 0 s"),
        (252, "4 min 12 s"),
        (49560, "13 h 46 min"),
        (3599.7, "1 h 0 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.0118, "+1.18 %"), (-0.5, "\N{MINUS SIGN}50.00 %"), (-1e-9, "0.00 %")]
)
def test_gains_carry_their_sign(fraction: float, text: str) -> None:
    assert formats.gain(fraction) == text


def test_units() -> None:
    assert formats.value(0.9775, "rate") == "97.75"
    assert formats.value(412.4, "MiB") == "412 MiB"
    assert formats.value(1536, "MiB") == "1.5 GiB"
    assert formats.value(12345, "count") == "12,345"


def test_a_spread_has_the_unit_of_its_mean() -> None:
    assert formats.spread(Figure(2048, 512, 3), "MiB") == "± 0.5 GiB"
    assert formats.spread(Figure(252, 4.87, 3), "seconds") == "± 5 s"
    assert formats.spread(Figure(5.3, 0.357, 3), "seconds") == "± 0.36 s"
    assert formats.spread(Figure(49560, 3720, 3), "seconds") == "± 1 h 2 min"
    assert formats.spread(Figure(0.9, None, 1), "rate") == ""


def test_headings_give_unit_and_direction() -> None:
    items = [
        Property("accuracy", "accuracy", "rate", higher_is_better=True),
        Property("negative_flip_rate", "negative flips", "rate", higher_is_better=False),
        Property("time/repair", "repair time", "seconds", higher_is_better=False),
        Property("churn", "churn"),
    ]
    headings = {item.key: formats.heading(item).replace("\N{NO-BREAK SPACE}", " ") for item in items}
    assert headings["accuracy"] == "accuracy % ↑"
    assert headings["negative_flip_rate"] == "negative flips % ↓"
    assert headings["time/repair"] == "repair time ↓"
    assert headings["churn"] == "churn"


def test_what_a_masked_gradient_flatters_is_named() -> None:
    items = [Property("a", "ASR", maskable=True), Property("b", "margin ASR"), Property("c", "own", maskable=True)]
    assert formats.flattered(items) == "ASR and own"
    assert formats.flattered([*items, Property("d", "third", maskable=True)]) == "ASR, own and third"
    assert formats.flattered(items[1:2]) == ""


def test_changes_of_rates_are_in_points_and_others_relative() -> None:
    assert formats.change(Change(0.3, relative=0.6923), "rate") == "+30.00"
    assert formats.change(Change(-0.3), "rate") == "\N{MINUS SIGN}30.00"
    assert formats.change(Change(-1e-9), "rate") == "0.00"
    assert formats.change(Change(5.0, relative=0.25), "seconds") == "+25.00 %"
    assert formats.change(Change(5.0), "seconds") == ""


def test_whether_a_change_is_for_the_better() -> None:
    up, down, neither = (Property("x", "x", higher_is_better=way) for way in (True, False, None))
    told = [formats.improves(Change(mean), item) for item in (up, down, neither) for mean in (0.1, -0.1, 0.0)]
    assert told == [True, False, None, False, True, None, None, None, None]


def _rows(**seeds: tuple[str, ...]) -> Subject:
    rows = [Row(name, name, "none", "model", len(own), (), 0, 0, {}, seeds=own) for name, own in seeds.items()]
    return Subject("digits / mlp", "digits", "mlp", rows[0], tuple(rows))


def test_seeds_that_differ_are_told() -> None:
    three, many = ("0", "1", "2"), tuple(map(str, range(10)))
    assert formats.cautions(_rows(joint=three, care=three), []) == []
    (sentence,) = formats.cautions(_rows(joint=three, care=three, vere=many, hudd=("0", "7")), [])
    assert sentence == (
        "Not all rows have the seeds 0, 1, 2: vere has 0 to 9; hudd has 0, 7. Means over different seeds are not "
        "comparable."
    )


def test_ways_of_measuring_that_differ_are_told() -> None:
    asr = Property("asr", "ASR", "rate")
    subject = _rows(joint=("0",), care=("0",))
    rows = [
        replace(row, figures={"asr": Figure(0.1, None, 1, ways=frozenset({way}))})
        for row, way in zip(subject.rows, ("10 steps", "40 steps"), strict=True)
    ]
    (sentence,) = formats.cautions(replace(subject, rows=tuple(rows)), [asr])
    assert sentence == "ASR was not measured in the same way everywhere: only rows alike are compared."
