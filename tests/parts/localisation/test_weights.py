from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.localisation.weights import ConvNorm, Localiser
from study.parts.network.layers import eligible_layers
from tests.problems import digits_problem, digits_splits

FIVE = torch.arange(5)


class TinyConv(nn.Module):
    """Stride and padding in the first convolution, no activation after the second."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, stride=2, padding=1)
        self.second = nn.Conv2d(3, 2, 2)
        self.norm = nn.BatchNorm2d(2)
        self.out = nn.Linear(18, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.second(functional.relu(self.first(inputs))))

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.out(torch.relu(self.norm(features)).flatten(1))
        return logits


class Branching(nn.Module):
    """Cannot be traced."""

    def __init__(self, after: nn.Module) -> None:
        super().__init__()
        self.hidden, self.out, self.after = nn.Linear(64, 16), nn.Linear(16, 10), after

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.hidden(inputs.flatten(1))
        if features.sum() > 0:
            features = torch.relu(features)
        logits: Tensor = self.after(self.out(features))
        return logits


@pytest.fixture
def tiny() -> TinyConv:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyConv().eval()


@pytest.fixture
def few() -> Split:
    return digits_splits()["repair"].subset(FIVE)


def naive_back(rest: Callable[[Tensor], Tensor], leaving: Tensor) -> Tensor:
    """Share of each unit of `leaving` [N, ...] in the gradient of the summed logits, one input after the other."""
    shares = []
    for one in leaving.detach():
        unit = one[None].requires_grad_(True)
        slope = torch.autograd.grad(rest(unit).sum(), unit)[0][0].abs()
        shares.append(slope / slope.sum())
    return torch.stack(shares).mean(0)


def naive_linear(weight: Tensor, entering: Tensor, back: Tensor) -> Tensor:
    impact = torch.zeros_like(weight)
    for j in range(weight.shape[0]):
        for entered in entering:
            products = (entered * weight[j]).abs()
            impact[j] += products / products.sum() / len(entering)
        impact[j] *= back[j]
    return impact


def naive_conv(layer: nn.Conv2d, entering: Tensor, back: Tensor, norm: ConvNorm) -> Tensor:
    patches = functional.unfold(entering, layer.kernel_size, 1, layer.padding, layer.stride)  # [N, U, positions]
    weight = layer.weight.detach().flatten(1)
    impact = torch.zeros_like(weight)
    for c in range(weight.shape[0]):
        for p in range(patches.shape[2]):
            products = patches[:, :, p] * weight[c]
            scale = products.abs().sum() if norm == "reference" else products.abs().sum(1, keepdim=True)
            front = torch.where(scale > 0, products / scale, 0.0).sum(0) / len(entering)
            impact[c] += front * back[c].flatten()[p]
    return impact.reshape(layer.weight.shape)


@pytest.mark.parametrize("norm", ["reference", "per_input"])
def test_forward_impact_of_convolutions_equals_the_loops(tiny: TinyConv, few: Split, norm: ConvNorm) -> None:
    localiser = Localiser(tiny, ["first", "second", "out"])
    gradients = localiser.gradients(few, FIVE)
    impact = localiser.forward_impact(few, FIVE, gradients.back, norm)
    inputs, middle = few.inputs[FIVE], functional.relu(tiny.first(few.inputs[FIVE])).detach()
    expected = naive_back(lambda after: tiny.head(tiny.second(after)), middle)
    torch.testing.assert_close(gradients.back["first"], expected)
    torch.testing.assert_close(impact["first"], naive_conv(tiny.first, inputs, expected, norm), atol=1e-5, rtol=0)
    expected = naive_back(tiny.head, tiny.second(middle))
    torch.testing.assert_close(gradients.back["second"], expected)
    torch.testing.assert_close(impact["second"], naive_conv(tiny.second, middle, expected, norm), atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_forward_impact_of_linear_layers_equals_the_loops(batch_norm: bool) -> None:
    problem = digits_problem(batch_norm=batch_norm)
    model, indices = problem.faulty, problem.failing[:7]
    names = eligible_layers(model, problem.repair_set.inputs[:2])
    localiser = Localiser(model, names)
    gradients = localiser.gradients(problem.repair_set, indices)
    impact = localiser.forward_impact(problem.repair_set, indices, gradients.back)
    inputs = problem.repair_set.inputs[indices]
    stack, cut = model.get_submodule("net.layers"), 2 if batch_norm else 3  # flatten, linear, relu or norm, ...
    first = stack[1]
    expected = naive_back(stack[cut:], stack[:cut](inputs))
    torch.testing.assert_close(gradients.back[names[0]], expected)
    loops = naive_linear(first.weight.detach(), inputs.flatten(1), expected)
    torch.testing.assert_close(impact[names[0]], loops, atol=1e-5, rtol=0)
    torch.testing.assert_close(gradients.back[names[-1]], torch.full((10,), 0.1))


def test_shares_sum_to_one() -> None:
    problem = digits_problem()
    names = eligible_layers(problem.faulty, problem.repair_set.inputs[:2])
    localiser = Localiser(problem.faulty, names)
    back = localiser.gradients(problem.repair_set, problem.failing).back
    uniform = {name: torch.ones_like(share) for name, share in back.items()}
    fronts = localiser.forward_impact(problem.repair_set, problem.failing, uniform)
    for name in names:
        torch.testing.assert_close(back[name].sum(), torch.tensor(1.0))
        rows = fronts[name].sum(1)
        torch.testing.assert_close(rows, torch.ones_like(rows))


def test_a_unit_that_nothing_enters_counts_zero() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    with torch.no_grad():
        model[1].weight[1] = 0.0
    split = Split("repair", torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))
    localiser = Localiser(model, ["1"])
    impact = localiser.forward_impact(split, FIVE[:2], {"1": torch.ones(3)})["1"]
    assert impact[1].tolist() == [0, 0, 0, 0]
    assert impact[0].sum() == pytest.approx(1)


def test_gradient_loss_is_the_size_of_the_summed_gradient(tiny: TinyConv, few: Split) -> None:
    for parameter in tiny.parameters():
        parameter.requires_grad_(False)  # a frozen model is localised all the same, and stays frozen
    loss = Localiser(tiny, ["first", "out"]).gradients(few, FIVE).loss
    assert not any(parameter.requires_grad for parameter in tiny.parameters())
    tiny.requires_grad_(True)
    functional.cross_entropy(tiny(few.inputs[FIVE]), few.labels[FIVE], reduction="sum").backward()
    torch.testing.assert_close(loss["first"], tiny.first.weight.grad.abs())
    torch.testing.assert_close(loss["out"], tiny.out.weight.grad.abs())


def test_batches_do_not_change_the_result(tiny: TinyConv, monkeypatch: pytest.MonkeyPatch) -> None:
    split, some = digits_splits()["repair"], torch.arange(30)
    names = ["first", "second", "out"]
    whole = Localiser(tiny, names)
    gradients = whole.gradients(split, some)
    impact = whole.forward_impact(split, some, gradients.back)
    monkeypatch.setattr("study.parts.localisation.weights.BATCH", 7)
    parts = whole.gradients(split, some)
    torch.testing.assert_close(parts.loss, gradients.loss)
    torch.testing.assert_close(parts.back, gradients.back)
    torch.testing.assert_close(whole.forward_impact(split, some, parts.back), impact)


def test_of_a_model_that_cannot_be_traced_the_output_layer_is_left(few: Split) -> None:
    model = Branching(nn.Identity()).eval()
    assert eligible_layers(model, few.inputs[:2]) == ["out"]
    gradients = Localiser(model, ["out"]).gradients(few, FIVE)
    torch.testing.assert_close(gradients.back["out"], torch.full((10,), 0.1))
    with pytest.raises(NotApplicable, match="not its logits"):
        eligible_layers(Branching(nn.ReLU()).eval(), few.inputs[:2])
    with pytest.raises(NotApplicable, match="traced"):
        Localiser(model, ["hidden", "out"])
