"""pydantic's complaints as a user reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic
import pytest
from pydantic import Field, TypeAdapter

from study.config.complaints import sentences, shown

REFUSED: list[tuple[Any, Any, str]] = [
    (int, "abc", "x=abc: should be a whole number"),
    (int, 1.5, "x=1.5: should be a whole number"),
    (int, None, "x=null: should be a whole number"),
    (float, "abc", "x=abc: should be a number"),
    (bool, "maybe", "x=maybe: should be true or false"),
    (str, True, "x=true: should be text"),
    (Annotated[str, Field(min_length=1)], "", "x=: should be text of 1 or more characters"),
    (Annotated[int, Field(ge=1)] | Literal["auto"], 0, "x=0: should be at least 1 or auto"),
    (Annotated[float, Field(gt=0, le=10.0)], 20, "x=20: should be at most 10"),
    (Annotated[float, Field(gt=0)], 0, "x=0: should be more than 0"),
    (Annotated[int, Field(lt=2**32)], 2**32, "x=4294967296: should be less than 4294967296"),
    (Literal["adam", "sgd"] | Literal["auto"], "adamw", "x=adamw: should be adam, sgd or auto"),
    (Literal[1, 3], 2, "x=2: should be 1 or 3"),
    (tuple[int, int], 64, "x=64: should be a list, as in [1,2]"),
    (tuple[int, int], [64], "x=[64]: should be a longer list"),
    (tuple[int, int], [1, 2, 3], "x=[1,2,3]: should be a list of at most 2"),
    (tuple[int, int], [1, "a"], "x.1=a: should be a whole number"),
    (int | tuple[int, int] | None, "abc", "x=abc: should be a whole number or a list, as in [1,2]"),
    (int | tuple[int, int] | None, [1, "a"], "x.1=a: should be a whole number"),
    (list[float] | None, 0.5, "x=0.5: should be a list, as in [1,2]"),
    (dict[str, int], 3, "x=3: should be settings of its own (.KEY=VALUE)"),
    (Annotated[float, Field(allow_inf_nan=False)], float("inf"), "x=inf: should be a finite number"),
    (Annotated[int, Field(multiple_of=2)], 3, "x=3: should be a multiple of 2"),
]


@pytest.mark.parametrize(("kind", "value", "told"), REFUSED, ids=[told for *_, told in REFUSED])
def test_a_complaint_names_the_setting_the_value_and_what_would_be_right(kind: Any, value: Any, told: str) -> None:
    with pytest.raises(pydantic.ValidationError) as refusal:
        TypeAdapter(dict[Literal["x"], kind]).validate_python({"x": value})
    assert sentences(refusal.value.errors(), "", None) == told


class Inner(pydantic.BaseModel, extra="forbid"):
    seed: int


class Outer(pydantic.BaseModel, extra="forbid"):
    colour: int
    inner: Inner

    @pydantic.field_validator("colour")
    @classmethod
    def no_red(cls, value: int) -> int:
        if value == 1:
            raise ValueError("Red is taken")
        return value


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"colour": 2}, "group.inner: is missing"),
        ({"colour": 1, "inner": {"seed": 0}}, "group.colour=1: red is taken"),
        ({"colour": 2, "inner": 3}, "group.inner=3: should be settings of its own (.KEY=VALUE)"),
        ({"color": 2, "inner": {"seed": 0}}, "group.color: there is no such setting; did you mean colour?"),
        (
            {"colour": 2, "inner": {"seed": 0, "sed": 1}},
            "group.inner.sed: there is no such setting; did you mean seed?",
        ),
        ({"colour": "a", "inner": {"seed": "b"}}, "group.inner.seed=b: should be a whole number"),
    ],
)
def test_settings_that_are_missing_unknown_or_nested(values: dict[str, Any], told: str) -> None:
    with pytest.raises(pydantic.ValidationError) as refusal:
        Outer(**values)
    sentence = sentences(refusal.value.errors(), "group", Outer)
    assert told in sentence
    assert len(sentence.split("; group")) == len(refusal.value.errors())


def test_values_are_shown_as_they_are_written() -> None:
    assert shown({"a": [None, True, 0.5, "text"]}) == "{a:[null,true,0.5,text]}"
