"""Running a model over a split."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Split
from study.problem.prediction import accuracy, predict, right
from tests import problems


class First(nn.Module):
    """Says the class that stands in the input."""

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.one_hot(inputs.long().flatten(), 3).float()


SPLIT = Split("test", torch.tensor([[0.0], [1.0], [2.0], [2.0]]), torch.tensor([0, 2, 2, 1]))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_answers_come_in_order(size: int) -> None:
    assert predict(First(), SPLIT, size).argmax(1).tolist() == [0, 1, 2, 2]
    assert right(First(), SPLIT, size).tolist() == [True, False, True, False]
    assert accuracy(First(), SPLIT, size) == 0.5


def test_the_model_runs_in_eval_mode_and_nothing_of_it_changes() -> None:
    model, split = problems.build(batch_norm=True).train(), problems.digits_splits()["test"]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    logits = predict(model, split)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(logits, model.eval()(split.tensors().inputs))


def test_each_module_gets_its_own_mode_back() -> None:
    model = problems.build(batch_norm=True).train()
    frozen = [module.eval() for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    modes = [module.training for module in model.modules()]
    predict(model, problems.digits_splits()["test"])
    assert [module.training for module in model.modules()] == modes
    assert len(frozen) == 2 and not any(module.training for module in frozen)


def test_the_mode_is_put_back_after_an_exception() -> None:
    model = problems.build().train()
    with pytest.raises(RuntimeError):
        predict(model, SPLIT)
    assert model.training


def test_logits_can_be_differentiated_through() -> None:
    logits = predict(problems.build(), problems.digits_splits()["test"])
    weight = torch.ones(10, requires_grad=True)
    (logits * weight).sum().backward()
    assert weight.grad is not None and not logits.requires_grad
