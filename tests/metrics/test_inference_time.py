"""The time of a pass, on models that take a known time."""

import time

import pytest
import torch
from torch import Tensor, nn

from study.errors import NotApplicable
from study.metrics.inference_time import InferenceTime
from study.metrics.sampling import Sample


class Slow(nn.Module):
    """Takes so many seconds, and much longer in its first pass; says in which order models are asked."""

    def __init__(self, seconds: float, asked: list[nn.Module]) -> None:
        super().__init__()
        self.seconds, self.asked = seconds, asked

    def forward(self, inputs: Tensor) -> Tensor:
        time.sleep(self.seconds if self in self.asked else 0.2)
        self.asked.append(self)
        assert torch.is_inference_mode_enabled()
        return inputs


def sample(count: int) -> Sample:
    return Sample(torch.rand(count, 3), torch.zeros(count, dtype=torch.long), torch.ones(count, dtype=torch.bool))


def test_the_ratio_is_that_of_the_medians_without_the_first_pass() -> None:
    asked: list[nn.Module] = []
    before, after = Slow(0.01, asked), Slow(0.03, asked)
    measured = InferenceTime(passes=5).measured(before, after, sample(40), None, torch.Generator())
    assert measured.values["before/inference_time"] == pytest.approx(0.01, rel=0.4)
    assert measured.values["after/inference_time"] == pytest.approx(0.03, rel=0.4)
    assert measured.values["after/inference_time_ratio"] == pytest.approx(3, rel=0.4)
    assert asked == [before, after] * 6
    protocol = measured.descriptions["inference_time_ratio"].protocol
    assert protocol == "one batch of 40 inputs, median of 5 passes"


def test_it_takes_the_sample_it_is_told_to() -> None:
    class Sizes(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            assert len(inputs) == 7
            return inputs

    InferenceTime(samples=7, passes=1).measured(Sizes(), Sizes(), sample(40), None, torch.Generator())
    with pytest.raises(NotApplicable, match="no test inputs"):
        InferenceTime().measured(Sizes(), Sizes(), sample(0), None, torch.Generator())
