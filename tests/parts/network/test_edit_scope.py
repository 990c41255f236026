"""What an editor changes, and where the network is cut."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from study.errors import NotApplicable
from study.models.classifier import Classifier
from study.parts.network import edit_scope
from study.parts.network.edit_scope import cut_before, last_convolutional_stage, scope_parameters
from tests.networks import Plain
from tests.problems import digits_problem

IMAGES = torch.linspace(0, 1, 2 * 64).view(2, 1, 8, 8)


class Staged(nn.Module):
    """Two stages, the second at half the size, with a connection that passes its last convolution by."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 6, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.out = nn.Linear(6, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.norm(self.down(torch.relu(self.stem(inputs)))))
        logits: torch.Tensor = self.out((features + self.inner(features)).mean((2, 3)))
        return logits


def staged() -> Classifier:
    torch.manual_seed(0)
    return Classifier(Staged()).eval()


def test_the_last_stage_is_what_has_the_last_convolutions_size() -> None:
    assert last_convolutional_stage(staged(), IMAGES[:1]) == ["net.down", "net.norm", "net.inner"]
    assert last_convolutional_stage(digits_problem().faulty, IMAGES[:1]) == []


def test_auto_takes_all_of_a_small_network_and_the_last_stage_of_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = staged()
    names = [name for name, _ in model.named_parameters()]
    assert scope_parameters(model, "auto", IMAGES[:1]) == scope_parameters(model, "all", IMAGES[:1]) == names
    monkeypatch.setattr(edit_scope, "SMALL", 10)
    expected = [name for name in names if name.split(".")[1] in ("down", "norm", "inner")]
    assert scope_parameters(model, "auto", IMAGES[:1]) == expected
    no_convolution = digits_problem().faulty
    everything = [name for name, _ in no_convolution.named_parameters()]
    assert scope_parameters(no_convolution, "auto", IMAGES[:1]) == everything


@pytest.mark.parametrize("named", [["out", "norm"], ["net.norm", "net.out"]])
def test_modules_may_be_named_with_or_without_the_subject(named: list[str]) -> None:
    expected = ["net.norm.weight", "net.norm.bias", "net.out.weight", "net.out.bias"]
    assert scope_parameters(staged(), named, IMAGES[:1]) == expected
    with pytest.raises(NotApplicable, match="layer9"):
        scope_parameters(staged(), [*named, "layer9"], IMAGES[:1])


@pytest.mark.parametrize(
    ("edited", "in_suffix"),
    [
        (["net.out.weight"], {"out"}),
        (["net.inner.bias"], {"inner", "out"}),
        (["net.norm.weight", "net.out.bias"], {"down", "norm", "inner", "out"}),  # no cut before a BatchNorm
        (["net.stem.weight"], {"stem", "down", "norm", "inner", "out"}),
    ],
)
def test_the_cut_is_the_latest_that_leaves_the_edited_behind_it(edited: list[str], in_suffix: set[str]) -> None:
    model = staged()
    prefix, suffix = cut_before(model, edited)
    owned = dict(suffix.named_parameters())
    assert {name.split(".")[1] for name in owned} == in_suffix
    assert all(parameter is model.get_parameter(name) for name, parameter in owned.items())
    assert torch.equal(suffix(prefix(IMAGES)), model(IMAGES))


def test_a_network_that_cannot_be_traced_is_all_suffix() -> None:
    model = Plain().eval()
    prefix, suffix = cut_before(model, ["out.weight"])
    assert suffix is model
    assert prefix(IMAGES) is IMAGES
