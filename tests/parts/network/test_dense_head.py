from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.errors import NotApplicable
from study.parts.network.dense_head import dense_head
from tests.problems import digits_problem


class Twice(nn.Module):
    """Its first dense layer runs again before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.out(functional.relu(self.hidden(torch.tanh(self.hidden(inputs)))))
        return logits


def test_the_head_is_that_of_the_network() -> None:
    problem = digits_problem(batch_norm=True)
    head = dense_head(problem.faulty, problem.task.example(2))
    assert head.widths == [64, 32] and head.classes == 10
    assert head.modules[-1] is list(problem.faulty.modules())[-1]


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), (4,), "does not end in a chain"),
        (Twice(), (4,), "the first dense layer of the head, hidden, runs more than once"),
        (
            nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.ReLU(), nn.Linear(5, 3)),
            (4,),
            "BatchNorm in the dense head keeps no running statistics",
        ),
        (nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)), (4, 8), "one feature vector per input"),
    ],
)
def test_other_heads_are_unadaptable(model: nn.Module, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        dense_head(model.eval(), torch.zeros(2, *shape))
