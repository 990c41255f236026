from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.training.label_smoothing import LabelSmoothing, smoothed
from tests.fitting import fitted


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def items(count: int = 10) -> Split:
    return Split("items", torch.randn(count, 4, generator=generator()), torch.arange(count) % 3)


def training(model: nn.Module, split: Split, steps: int | None = None, smoothing: float = 0.1) -> LabelSmoothing:
    sgd = torch.optim.SGD(model.parameters(), 0.1, 0.9)
    batches = split.batches(4, generator(), drop_last=True)
    return LabelSmoothing(model, batches, sgd, smoothing=smoothing, steps=steps, augmented_items=0)


def test_smoothed_targets_leave_the_rest_to_the_other_classes() -> None:
    assert smoothed(torch.tensor([2, 0]), 3, 0.1).tolist() == [
        pytest.approx([0.05, 0.05, 0.9]),
        pytest.approx([0.9, 0.05, 0.05]),
    ]
    assert smoothed(torch.tensor([1]), 2, 0.0).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(("steps", "taken"), [(None, 2), (1, 1), (2, 2), (5, 5)])
def test_equals_a_bare_training_loop_of_one_pass_or_of_so_many_steps(steps: int | None, taken: int) -> None:
    model, split = nn.Linear(4, 3), items()
    other = copy.deepcopy(model)
    ours = training(model, split, steps)
    fitted(ours)
    optimizer, batches = torch.optim.SGD(other.parameters(), 0.1, 0.9), split.batches(4, generator(), drop_last=True)
    losses: list[Tensor] = []
    while len(losses) < taken:
        for batch in batches:
            if len(losses) < taken:
                losses.append(functional.cross_entropy(other(batch.inputs), smoothed(batch.labels, 3, 0.1)))
                optimizer.zero_grad()
                losses[-1].backward()
                optimizer.step()
    assert ours.steps_taken == taken
    assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)
    torch.testing.assert_close(ours.mean_loss, torch.stack(losses).mean().detach())


def test_without_smoothing_it_is_cross_entropy() -> None:
    model, split = nn.Linear(4, 3), items()
    batch = split.tensors()
    expected = functional.cross_entropy(model(batch.inputs), batch.labels)
    torch.testing.assert_close(training(model, split, smoothing=0.0).loss(batch), expected)


def test_only_the_first_items_of_the_split_are_augmented() -> None:
    model, split = nn.Linear(4, 3), items()
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    ours = LabelSmoothing(model, split.batches(4), sgd, smoothing=0.1, augment=torch.neg, augmented_items=6)
    batch = split.fetch(torch.tensor([8, 5, 0, 6]))
    signs = torch.tensor([1, -1, -1, 1])[:, None]
    assert torch.equal(ours.inputs_of(batch), signs * batch.inputs)
