"""The values that belong to no group."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from study.config.settings import Settings, resolved, settings_of
from study.errors import UsageError

RIGHT: dict[str, Any] = {
    "seed": 3,
    "subject": {"seed": 4},
    "force": False,
    "plan": False,
    "fail_fast": True,
    "trust": ["my_package", "other.Net"],
    "objective": "a/b",
}


def test_right_values() -> None:
    settings = settings_of(RIGHT | {"dataset": {}})
    assert (settings.seed, settings.subject.seed, settings.fail_fast) == (3, 4, True)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"seed": "abc", "subject": {"seed": "abc"}}, "seed=abc: should be a whole number"),
        ({"subject": {"seed": "abc"}}, "subject.seed=abc: should be a whole number"),
        ({"seed": -1}, "seed=-1: should be at least 0"),
        ({"seed": 2**32}, "seed=4294967296: should be less than 4294967296"),
        ({"force": "maybe"}, "force=maybe: should be true or false"),
        ({"trust": "mine"}, "trust=mine: should be a list, as in [1,2]"),
        (
            {"trust": ["a-b"]},
            "trust.0=a-b: should be the name of a package or of what it holds, such as my_package.Net",
        ),
        ({"subject": 3}, "subject=3: should be settings of its own (.KEY=VALUE)"),
    ],
)
def test_a_wrong_value_is_told_once(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refusal:
        settings_of(RIGHT | wrong)
    assert str(refusal.value) == told


def test_every_setting_has_to_be_there() -> None:
    for name in Settings.model_fields:
        with pytest.raises(UsageError, match=f"^{name}: is missing$"):
            settings_of({key: value for key, value in RIGHT.items() if key != name})


@pytest.mark.parametrize(
    ("seed", "told"), [("${sed}", "seed: Interpolation key 'sed' not found"), ("???", "seed: is missing")]
)
def test_a_value_that_leads_nowhere(seed: str, told: str) -> None:
    with pytest.raises(UsageError) as refusal:
        resolved(OmegaConf.create({"seed": seed}))
    assert str(refusal.value) == told


def test_references_are_followed() -> None:
    assert resolved(OmegaConf.create({"seed": 3, "subject": {"seed": "${seed}"}})) == {
        "seed": 3,
        "subject": {"seed": 3},
    }
