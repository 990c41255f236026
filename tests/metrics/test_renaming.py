"""What renamed variables do to a network's answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Change, Split
from study.errors import NotApplicable
from study.metrics.measured import Measured
from study.metrics.renaming import RenamingRobustness
from study.metrics.sampling import Sample, sample_of


class FirstToken(nn.Module):
    """Answers with the parity of the first token, plus `shift`."""

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.one_hot((tokens[:, 0] + self.shift) % 2, 2).float()


INPUTS = torch.arange(10).unsqueeze(1).repeat(1, 3)
LABELS = INPUTS[:, 0] % 2
RENAMED = INPUTS.clone()
RENAMED[:3] += 1  # the answer changes
RENAMED[3:5] += 2  # it does not


def change(inputs: Tensor) -> Change:
    """Gives these in place of the inputs, without a draw."""
    return lambda indices, generator: inputs[indices] if generator is None else inputs[:0]


def sample(**variants: Change) -> Sample:
    return Sample(INPUTS, LABELS, torch.ones(10, dtype=torch.bool), variants)


def measured(before: nn.Module, after: nn.Module, of: Sample, samples: int = 500) -> Measured:
    metric = RenamingRobustness(samples=samples, batch_size=4)
    return metric.measured(before, after, of, None, torch.Generator().manual_seed(0))


def test_it_counts_right_answers_that_turn_wrong() -> None:
    class Deaf(FirstToken):
        """Wrong on the last two, and it looks at no name."""

        def forward(self, tokens: Tensor) -> Tensor:
            return super().forward(torch.where(tokens[:, 1:2] > 7, tokens + 1, tokens))

    found = measured(FirstToken(), Deaf(), sample(renamed=change(RENAMED)))
    assert found.values["before/renamed_accuracy"] == pytest.approx(0.7)
    assert found.values["before/renaming_flip_rate"] == pytest.approx(0.3)
    assert found.values["after/renamed_accuracy"] == pytest.approx(0.5)
    assert found.values["after/renaming_flip_rate"] == pytest.approx(3 / 8), "of the eight that were right"
    assert found.descriptions["renamed_accuracy"].protocol == "10 inputs, 5 of which renaming changes"


def test_it_is_a_main_figure_of_programs_alone() -> None:
    found = measured(FirstToken(), FirstToken(), sample(renamed=change(RENAMED))).descriptions
    assert [name for name, text in found.items() if text.summary] == ["renaming_flip_rate"]
    assert not any(text.summary for text in RenamingRobustness().descriptions().values())


def test_a_sample_is_drawn_alike_for_inputs_and_their_renamed_form() -> None:
    found = measured(FirstToken(), FirstToken(), sample(renamed=change(INPUTS)), samples=4)
    assert found.values["after/renamed_accuracy"] == 1 and found.values["after/renaming_flip_rate"] == 0
    assert found.descriptions["renamed_accuracy"].protocol == "4 inputs, 0 of which renaming changes"


def test_it_is_not_applicable_where_there_is_nothing_to_rename() -> None:
    with pytest.raises(NotApplicable, match="no programs"):
        measured(FirstToken(), FirstToken(), sample())
    with pytest.raises(NotApplicable, match="no sampled function right"):
        measured(FirstToken(1), FirstToken(), sample(renamed=change(RENAMED)))


def test_variants_follow_their_split() -> None:
    split = Split("test", INPUTS, LABELS, variants={"renamed": change(RENAMED)})
    part = split.subset(torch.tensor([4, 2])).to(torch.device("cpu"))
    assert torch.equal(part.variants["renamed"](torch.tensor([1, 0]), None), RENAMED[[2, 4]])
    logits = FirstToken()(INPUTS)
    drawn = sample_of(split, logits, logits, 0)
    assert torch.equal(drawn.variants["renamed"](torch.tensor([7, 1]), None), RENAMED[[7, 1]])
