from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from study.data.split import Split
from study.parts.training.validation import validated


def test_accuracy_and_loss_are_those_of_the_logits() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    found = validated(nn.Identity(), Split("held out", logits, torch.tensor([0, 0, 0, 0])))
    losses = [math.log(2), math.log1p(math.exp(-2)), math.log1p(math.exp(2)), math.log1p(math.exp(-2))]
    assert found == {"validation/accuracy": 0.75, "validation/loss": pytest.approx(sum(losses) / 4)}
