import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.errors import NotApplicable, UsageError
from study.models.classifier import Classifier
from study.models.frozen_run import FrozenRun
from study.parts.network.frozen_layer import FrozenLayer, add_changes
from study.parts.network.frozen_start import run_from
from study.problem.problem import Problem
from tests.problems import digits_problem
from tests.subjects import SHAPE, subject


def frozen(name: str, layer: str, later: bool = True, count: int = 12) -> tuple[FrozenLayer, Problem]:
    problem = subject(name)
    run = FrozenRun(problem.copy(), layer)
    return FrozenLayer.of(run, problem.repair_set, torch.arange(count), run.later if later else ()), problem


def drawn(layer: FrozenLayer, size: float) -> np.ndarray:
    return size * np.random.default_rng(0).normal(size=layer.width)


LAYERS = [
    ("lenet5", "net.fc2"),
    ("lenet5", "net.conv2"),
    ("mlp", "net.layers.1"),
    ("vgg16_bn", "net.classifier.0"),
    ("resnet18", "net.layer4.0.downsample.0"),
    ("densenet121", "net.features.denseblock4.denselayer1.conv2"),
]


@pytest.mark.parametrize(("name", "place"), LAYERS)
@pytest.mark.parametrize("few", [False, True])
def test_logits_and_slacks_are_affine_and_the_rows_are_their_gradients(name: str, place: str, few: bool) -> None:
    layer, _ = frozen(name, place)
    layer = layer.only(torch.tensor([1, 3])) if few else layer
    change = drawn(layer, 0.05)
    (logits, slacks), (moved, shifted) = layer.at(0 * change), layer.at(change)
    items, labels, others = torch.tensor([0, 5, 11]), torch.tensor([2, 0, 9]), torch.tensor([1, 3, 4])
    gaps = [values[items, labels] - values[items, others] for values in (logits, moved)]
    np.testing.assert_allclose(layer.gap_rows(items, labels, others) @ change, gaps[1] - gaps[0], rtol=1e-8, atol=1e-10)
    places = torch.tensor([0, slacks.shape[1] // 2, slacks.shape[1] - 1])
    difference = shifted[items, places] - slacks[items, places]
    np.testing.assert_allclose(layer.slack_rows(items, places) @ change, difference, rtol=1e-8, atol=1e-10)
    assert few or np.abs(difference).max() > 1e-6
    assert layer.gap_rows(items[:0], labels[:0], others[:0]).shape == (0, layer.width)


@pytest.mark.parametrize(("name", "place"), LAYERS)
def test_where_nothing_switches_the_network_with_the_change_gives_those_logits(name: str, place: str) -> None:
    layer, problem = frozen(name, place)
    change = drawn(layer, 1e-5)
    model = add_changes(problem.copy(), layer.changes(change)).double()
    logits, slacks = layer.at(change)
    settled = slacks.min(1) >= 0
    assert settled.any()
    with torch.no_grad():
        actual = model(problem.repair_set.tensors().inputs[:12].double()).numpy()
    np.testing.assert_allclose(actual[settled], logits[settled], rtol=1e-4, atol=1e-4)
    changed = {
        name
        for name, old in problem.faulty.named_parameters()
        if not torch.equal(old, model.get_parameter(name).float())
    }
    assert changed <= {f"{place}.weight", f"{place}.bias", *(f"{later}.bias" for later in layer.later)}


def test_the_useful_units_are_those_that_move_the_margin_most() -> None:
    layer, _ = frozen("lenet5", "net.fc2", later=False)
    items, labels, others = torch.arange(12), torch.zeros(12).long(), torch.ones(12).long()
    useful = layer.usefulness(items, labels, others)
    by_bias = layer.gap_rows(items, labels, others).toarray().reshape(12, 84, layer.row)[:, :, -1]
    np.testing.assert_allclose(useful.numpy(), np.abs(by_bias).sum(0))


def norm_between() -> nn.Module:
    return digits_problem(batch_norm=True).copy()


def test_the_usual_layer_is_the_last_before_a_relu_and_another_linear() -> None:
    usual = {"lenet5": "net.fc2", "mlp": "net.layers.3", "vgg16_bn": "net.classifier.0"}
    usual |= {"resnet18": "net.fc", "densenet121": "net.classifier", "facenet": "net.classifier"}
    for name, layer in usual.items():
        assert run_from(subject(name).copy(), "auto", torch.rand(2, *SHAPE)).layer == layer
    assert run_from(norm_between(), "auto", torch.rand(2, 1, 8, 8)).layer == "net.layers.4"


class Tokens(nn.Module):
    """A Linear on a sequence of vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.last(torch.relu(self.each(inputs)).mean(1))
        return result


def test_a_layer_that_cannot_be_taken_is_refused_with_the_reason() -> None:
    model, example = subject("lenet5").copy(), torch.rand(2, *SHAPE)
    assert run_from(model, "net.conv2", example, signs=1564).layer == "net.conv2"
    with pytest.raises(NotApplicable, match="at most 1,563 units .* there are 1,564"):
        run_from(model, "net.conv2", example, signs=1563)
    with pytest.raises(UsageError, match=r"method.layer=net.fc4 .* did you mean net.fc"):
        run_from(model, "net.fc4", example)
    with pytest.raises(NotApplicable, match="one vector per input: each works on more"):
        run_from(Tokens().eval(), "each", torch.rand(2, 6, 4))
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    with pytest.raises(NotApplicable, match="one group"):
        run_from(grouped, "0", torch.rand(2, 4, 4, 4))
    with pytest.raises(NotApplicable, match="needs a Linear layer"):
        run_from(Classifier(nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())).eval(), "auto", torch.rand(2, 1, 8, 8))
