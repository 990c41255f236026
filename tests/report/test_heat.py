import pytest

from study.report.comparison import Row
from study.report.figures import Change, Figure
from study.report.heat import GOOD, WORSE, shades
from study.report.properties import Property

ITEMS = {
    "accuracy": Property("accuracy", "accuracy", "rate", higher_is_better=True),
    "repair_rate": Property("repair_rate", "repair rate", "rate", higher_is_better=True),
    "negative_flip_rate": Property("negative_flip_rate", "negative flips", "rate", higher_is_better=False),
    "time/repair": Property("time/repair", "repair time", "seconds", higher_is_better=False),
    "own": Property("own", "own", higher_is_better=True),
}


def _rows(key: str, *figures: Figure) -> list[Row]:
    return [
        Row(f"m{index}", "care", "none", "model", 1, (), 0, 0, {key: figure}) for index, figure in enumerate(figures)
    ]


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


@pytest.mark.parametrize(("key", "good", "bad"), [("accuracy", "m0", "m1"), ("negative_flip_rate", "m1", "m0")])
def test_changes_are_coloured_around_zero(key: str, good: str, bad: str) -> None:
    rows = _rows(key, *(Figure(0.85 + change, None, 1, change=Change(change)) for change in (0.02, -0.02, 0.0)))
    assert shades(rows, ITEMS[key]) == {good: _hex(GOOD), bad: _hex(WORSE), "m2": "#ffffff"}


@pytest.mark.parametrize(
    ("key", "best"), [("repair_rate", "m1"), ("negative_flip_rate", "m0"), ("time/repair", "m0"), ("own", "m1")]
)
def test_others_run_from_worst_to_best_in_their_direction(key: str, best: str) -> None:
    colours = shades(_rows(key, Figure(0.1, None, 1), Figure(0.4, None, 1)), ITEMS[key])
    assert colours[best] == _hex(GOOD)
    assert sorted(colours.values()) == sorted([_hex(GOOD), "#ffffff"])


def test_equal_figures_have_no_colour() -> None:
    assert shades(_rows("repair_rate", Figure(0.1, None, 1), Figure(0.1, None, 1)), ITEMS["repair_rate"]) == {}


@pytest.mark.parametrize("text", ["#1b1f24", "#3c434b", "#08493b", "#8c2f06", "#1d4f8f"])
@pytest.mark.parametrize("ground", [GOOD, WORSE])
def test_every_text_colour_is_legible_on_every_ground(text: str, ground: tuple[int, int, int]) -> None:
    ink = tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))
    light, dark = _luminance(ground), _luminance(ink)
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA


def _luminance(colour: tuple[int, ...]) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
