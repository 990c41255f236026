from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Batch, Split
from study.errors import RepairFailed
from study.parts.training.mean_loss import MeanLoss
from tests.fitting import fitted


class Labels(MeanLoss):
    """The loss of a batch is its only label, whatever the network."""

    def loss(self, batch: Batch) -> Tensor:
        return batch.labels.sum() + 0 * self.model(batch.inputs).sum()


def training(*losses: float) -> Labels:
    model = nn.Linear(1, 1)
    split = Split("losses", torch.ones(len(losses), 1), torch.tensor(losses))
    return Labels(model, split.batches(1), torch.optim.SGD(model.parameters(), 0.1), max_epochs=1)


def test_it_is_the_mean_over_the_steps_of_the_last_fit() -> None:
    three = training(1.0, 2.0, 6.0)
    fitted(three)
    assert three.mean_loss.item() == three.finite_loss() == 3.0
    three.max_epochs, three.max_steps = -1, 2
    fitted(three)
    assert three.mean_loss.item() == 1.5 and three.steps_taken == 5


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_fails_with_the_costs_until_then(loss: float) -> None:
    diverging = training(1.0, loss)
    fitted(diverging)
    with pytest.raises(RepairFailed, match="no longer finite") as failure:
        diverging.finite_loss(labels=3)
    assert failure.value.costs == {"labels": 3}
