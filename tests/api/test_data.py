"""`study.Data` refuses what is wrong at once, and `study.evaluate` takes a test split alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import study
from study.errors import UsageError

INPUTS = torch.rand(60, 5, generator=torch.Generator().manual_seed(0))
WHOLE = (INPUTS, (INPUTS[:, 0] > 0.5).long())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epsilon": -1.0}, r"epsilon=-1\.0: should be more than 0"),
        ({"epsilon": float("nan")}, "epsilon=nan: should be"),
        ({"epsilon": "wide"}, "epsilon=wide: should be a number"),
        ({"bounds": (1, 0)}, r"bounds=\[1,0\]: should be the least and the largest value"),
        ({"bounds": (1, 1)}, r"bounds=\[1,1\]: should be the least and the largest value"),
        ({"bounds": 3}, "bounds=3: should be a list"),
        ({"kind": "picture"}, "kind=picture: should be image, table or tokens"),
        ({"mean": 0.5, "std": 0.5}, r"mean=0\.5: should be a list"),
        ({"mean": [0.5], "std": ["wide"]}, "std.0=wide: should be a number"),
        ({"mean": [0.5]}, "give both mean and std, or neither"),
        ({"recipe": {"optimiser": "adam"}}, "recipe.optimiser: there is no such setting; did you mean optimizer"),
        ({"recipe": {"lr": "x"}}, "recipe.lr=x: should be a number or auto"),
        ({"recipe": "adam"}, "recipe=adam: should be a mapping"),
        ({"classes": "ab"}, "classes=ab: should be a list of names"),
    ],
)
def test_a_wrong_value_is_refused_where_it_is_given(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        study.Data(train=WHOLE, **settings)


def test_values_of_other_libraries_are_taken() -> None:
    settings: dict[str, Any] = {"epsilon": np.float32(0.1), "bounds": [0, 1], "recipe": {"lr": 0.1}}
    scale: dict[str, Any] = {"mean": torch.zeros(5), "std": np.ones(5, np.float32)}
    found = study.evaluate(NET, NET, study.Data(train=WHOLE, **settings, **scale), progress=False)
    assert found.metrics["after/accuracy"] == 1


def network(bias: float) -> nn.Module:
    """Tells the two classes apart, shifted by `bias`."""
    net = nn.Linear(5, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0] * 5, [1.0, 0.0, 0.0, 0.0, 0.0]]))
        net.bias.copy_(torch.tensor([0.5 + bias, 0.0]))
    return net


@pytest.mark.parametrize("data", [{"test": WHOLE}, {"test": WHOLE, "repair": WHOLE}, study.Data(test=WHOLE)])
def test_two_models_are_compared_on_a_test_split_alone_and_on_all_of_it(data: Any) -> None:
    found = study.evaluate(network(0.3), network(0.0), data, progress=False)
    assert len(found.before) == 60 and found.metrics["after/accuracy"] == 1
    inputs, labels = WHOLE
    right = (network(0.3)(inputs).argmax(1) == labels).double().mean().item()
    assert found.metrics["before/accuracy"] == pytest.approx(right) and right < 1
    assert not any("validation" in name for name in found.metrics)


def test_splits_that_are_a_must_are_named() -> None:
    with pytest.raises(UsageError, match="there are no test items, only validation; test is a must"):
        study.evaluate(NET, NET, {"validation": WHOLE}, progress=False)
    for data in ({"test": WHOLE}, study.Data(test=WHOLE)):
        with pytest.raises(UsageError, match="there are no train items, only test; train is a must"):
            study.repair(NET, data, progress=False)
    with pytest.raises(UsageError, match="there are no train items; train is a must"):
        study.repair(NET, study.Data(), progress=False)


NET = network(0.0)
