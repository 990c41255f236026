"""The splits of the digits, and what every data set promises."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits

from study.data.digits import Digits
from study.models.mlp import MLP
from study.problem.prediction import accuracy, right
from study.problem.recipe import Recipe
from study.runtime.randomness import forked, stream


def loaded(seed: int = 0, limit: int | None = None) -> Digits:
    module = Digits(limit=limit)
    module.load(seed)
    return module


def test_splits_share_no_item_and_leave_none_out() -> None:
    module = loaded()
    assert [len(split) for split in module.splits.values()] == [800, 197, 400, 400]
    assert torch.cat(list(module.indices.values())).sort().values.tolist() == list(range(1797))


def test_inputs_are_those_of_scikit_learn_in_the_unit_interval() -> None:
    module, data = loaded(), load_digits()
    for name, split in module.splits.items():
        places = module.indices[name]
        expected = torch.tensor(data.images[places] / 16, dtype=torch.float32).unsqueeze(1)
        assert torch.equal(split.tensors().inputs, expected)
        assert torch.equal(split.labels, torch.tensor(data.target[places]))


def test_split_does_not_depend_on_the_global_state() -> None:
    torch.manual_seed(1)
    first = loaded()
    torch.manual_seed(2)
    assert loaded().split_hash == first.split_hash
    assert loaded(1).split_hash != first.split_hash


def test_split_and_data_are_the_same_in_every_process() -> None:
    assert (loaded().split_hash, loaded().fingerprint) == ("f8714d5dea03735b2df5", "6a3bd24fff4de1f423d8")


def test_limit_holds_for_each_split() -> None:
    whole, limited = loaded(), loaded(limit=250)
    assert [len(split) for split in limited.splits.values()] == [250, 197, 250, 250]
    for name in whole.splits:
        assert set(limited.indices[name].tolist()) <= set(whole.indices[name].tolist())


@pytest.mark.parametrize("arguments", [{"limit": 3}, {"epsilon": 0}, {"epsilon": 1.5}, {"limt": 100}])
def test_arguments_are_checked(arguments: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(arguments))):
        Digits(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_usual_recipe_leaves_something_to_repair(seed: int) -> None:
    module = loaded(seed)
    recipe = Recipe().resolved(module.recipe)
    with forked(seed, "init"):
        net = MLP(input_shape=module.input_shape, num_classes=module.num_classes)
    optimizer = recipe.make_optimizer(net.parameters())
    generator = stream(seed, "batches")
    for _ in range(int(recipe.epochs)):
        for batch in module.splits["train"].batches(int(recipe.batch_size), generator):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(batch.inputs), batch.labels).backward()
            optimizer.step()
    assert 0.9 <= accuracy(net, module.splits["test"]) <= 0.96
    assert (~right(net, module.splits["repair"])).sum() >= 15
