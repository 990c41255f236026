"""Hyperparameters of the wrong kind are refused without their class, exactly where that would refuse them."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hydra.utils import get_class

from study.config.complaints import sentences
from study.config.hyperparameters import check
from study.errors import UsageError
from study.storage.paths import conf_folder
from tests.commands import compositions

METHODS = sorted(file.stem for file in (conf_folder() / "method").glob("*.yaml"))
TEXT = "neither_a_number_nor_a_choice"


def values_of(method: str) -> dict[str, Any]:
    (job,) = compositions(f"+method={method}")
    return dict(job.config.method)


def refused(method: str, values: dict[str, Any]) -> str:
    """The sentence of the check, empty without one."""
    try:
        check(method, values)
    except UsageError as mistake:
        return str(mistake)
    return ""


def refused_by_class(values: dict[str, Any]) -> str:
    """The sentence of the approach itself, empty without one."""
    kind = get_class(values["_target_"])
    try:
        kind(**{name: value for name, value in values.items() if name != "_target_"})
    except pydantic.ValidationError as error:
        return sentences(error.errors(), "method", kind)
    except UsageError as mistake:  # of values that do not go together
        return str(mistake)
    return ""


def words(annotation: Any) -> set[str]:
    """Every text that an annotation names."""
    if isinstance(annotation, str):
        return {annotation}
    return {word for part in typing.get_args(annotation) for word in words(part)}


@pytest.mark.parametrize("method", METHODS)
def test_text_for_a_number_is_refused_as_the_class_does(method: str) -> None:
    values = values_of(method)
    for name, usual in values.items():
        wrong = values | {name: TEXT}
        if isinstance(usual, (bool, int, float)) and (sentence := refused(method, wrong)):
            assert sentence == refused_by_class(wrong), name
        if not isinstance(usual, (bool, int, float)):
            assert not refused(method, wrong), name


@pytest.mark.parametrize("method", METHODS)
def test_no_text_is_refused_that_a_class_takes(method: str) -> None:
    """Of every field all words that its annotation names, and text that reads as a number or a truth value."""
    values = values_of(method)
    annotations = inspect.get_annotations(get_class(values["_target_"]), eval_str=True)
    for name, annotation in annotations.items():
        for value in ("auto", "3", "0.5", "yes", *words(annotation)):
            given = values | {name: value}
            if not refused_by_class(given):
                assert not refused(method, given), (name, value)


@pytest.mark.parametrize("method", METHODS)
def test_most_numbers_are_checked(method: str) -> None:
    values = values_of(method)
    numbers = [name for name, usual in values.items() if isinstance(usual, (bool, int, float))]
    checked = [name for name in numbers if refused(method, values | {name: TEXT})]
    assert len(checked) >= 0.8 * len(numbers), set(numbers) - set(checked)


def test_the_wrong_kind_of_value() -> None:
    values = values_of("hybridrepair")
    told = {
        ("lr", "fast"): "method.lr=fast: should be a number",
        ("views", "many"): "method.views=many: should be a whole number",
        ("views", True): "method.views=true: should be a whole number",
        ("ssl", 3): "method.ssl=3: should be true or false",
        ("ssl", "maybe"): "method.ssl=maybe: should be true or false",
        ("ssl", "yes"): "",
        ("views", "3"): "",
        ("views", 2.0): "",
        ("max_ssl_steps", None): "",
        ("labels", 3): "",
        ("colour", "red"): "",
    }
    assert {case: refused("hybridrepair", values | {case[0]: case[1]}) for case in told} == told


def test_a_choice_beside_numbers_is_left_to_the_class() -> None:
    assert values_of("hudd")["layers"] == 4
    assert not refused("hudd", values_of("hudd") | {"layers": "all"})


def test_the_small_settings_say_what_is_a_number() -> None:
    full = values_of("full/apricot")
    assert isinstance(full["sub_epochs"], int)
    assert not refused("full/apricot", full | {"sub_epochs": "auto"})
    assert refused("full/apricot", full | {"max_rounds": "auto"}) == "method.max_rounds=auto: should be a whole number"


def test_an_approach_of_ones_own_is_left_to_its_class(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("_target_: mine.Mine\nsteps: 3\n")
    (job,) = compositions("--config-dir", str(tmp_path), "+method=mine", "method.steps=auto")
    assert not refused("mine", dict(job.config.method))
    values = values_of("finetune") | {"_target_": "mine.Finetune", "epochs": "auto"}
    assert not refused("finetune", values)
