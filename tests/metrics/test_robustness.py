"""PGD in both norms against an independent implementation, a masked gradient and its own promises."""

import math
from copy import deepcopy

import foolbox
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from study.data.threat import Norm, ThreatModel
from study.errors import NotApplicable
from study.metrics.robustness import PGD, margin_loss

EPSILON = 0.1
THREAT = ThreatModel(radius=EPSILON)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)


@pytest.fixture(scope="module")
def model(digits: tuple[Tensor, Tensor]) -> nn.Module:
    inputs, target = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        cross_entropy(net(inputs), target).backward()
        optimizer.step()
    optimizer.zero_grad()
    return net.eval()


@pytest.fixture(scope="module")
def right(model: nn.Module, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    inputs, target = digits
    with torch.no_grad():
        chosen = (model(inputs).argmax(1) == target).nonzero().squeeze(1)[:500]
    return inputs[chosen], target[chosen]


class Scaled(nn.Module):
    """The same decisions with logits so large that cross-entropy's gradient vanishes."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model = model
        self.factor = factor

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs) * self.factor


class Counting(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.sizes: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.sizes.append(len(inputs))
        return self.model(inputs)


def undropped(model: nn.Module, inputs: Tensor, labels: Tensor, generator: torch.Generator, steps: int) -> Tensor:
    """The same attack written plainly: every input takes every step."""
    iterate = (inputs + EPSILON * (2 * torch.rand(inputs.shape, generator=generator) - 1)).clamp(0, 1)
    fooled = torch.zeros(len(inputs), dtype=torch.bool)
    for _ in range(steps):
        iterate.requires_grad_()
        logits = model(iterate)
        fooled |= logits.argmax(1) != labels
        (gradient,) = torch.autograd.grad(cross_entropy(logits, labels), iterate)
        iterate = (iterate + EPSILON * 0.01 / 0.3 * gradient.sign()).detach()
        iterate = (inputs + (iterate - inputs).clamp(-EPSILON, EPSILON)).clamp(0, 1)
    return fooled | (model(iterate).argmax(1) != labels)


FOOLBOX = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}


@pytest.mark.parametrize(
    ("norm", "epsilon"), [("linf", 0.05), ("linf", 0.1), ("linf", 0.15), ("l2", 0.3), ("l2", 0.6), ("l2", 0.9)]
)
def test_agrees_with_foolbox(model: nn.Module, right: tuple[Tensor, Tensor], norm: Norm, epsilon: float) -> None:
    ours = PGD(norm=norm, epsilon=epsilon).attack(model, *right, THREAT, seeded()).double().mean().item()
    reference = FOOLBOX[norm](rel_stepsize=0.01 / 0.3, steps=40)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        # A copy, since foolbox leaves gradients on the weights.
        wrapped = foolbox.PyTorchModel(deepcopy(model), bounds=(0, 1), device="cpu")
        _, _, fooled = reference(wrapped, *right, epsilons=epsilon)
    theirs = fooled.double().mean().item()
    assert 0.01 < theirs < 0.99
    assert ours == pytest.approx(theirs, abs=0.03)  # from seed to seed either varies by as much


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_dropping_fooled_inputs_changes_nothing(model: nn.Module, right: tuple[Tensor, Tensor], steps: int) -> None:
    dropped = PGD(steps=steps, batch_size=1000).attack(model, *right, THREAT, seeded())
    plain = undropped(model, *right, seeded(), steps)
    assert 0 < plain.sum() < len(plain)
    assert torch.equal(dropped, plain)


def test_fooled_inputs_leave_the_batch(model: nn.Module, right: tuple[Tensor, Tensor]) -> None:
    counting = Counting(model)
    fooled = PGD(batch_size=1000).attack(counting, *right, THREAT, seeded())
    assert counting.sizes == sorted(counting.sizes, reverse=True)
    assert counting.sizes[-1] <= len(fooled) - 0.5 * fooled.sum()


def test_the_margin_sees_through_a_masked_gradient(model: nn.Module, right: tuple[Tensor, Tensor]) -> None:
    masked = Scaled(model, 1e4)
    rates = {
        (loss, name): PGD(loss=loss).attack(net, *right, THREAT, seeded()).double().mean().item()
        for loss in ("cross_entropy", "margin")
        for name, net in (("plain", model), ("masked", masked))
    }
    assert rates["cross_entropy", "masked"] < rates["cross_entropy", "plain"] - 0.1
    assert rates["margin", "masked"] == pytest.approx(rates["margin", "plain"], abs=0.01)


def test_leaves_the_model_as_it_was(model: nn.Module, right: tuple[Tensor, Tensor]) -> None:
    copy = deepcopy(model)
    next(copy.parameters()).requires_grad_(False)
    flags = [parameter.requires_grad for parameter in copy.parameters()]
    PGD(steps=2).attack(copy, *right, THREAT, seeded())
    assert [parameter.requires_grad for parameter in copy.parameters()] == flags
    assert all(parameter.grad is None for parameter in copy.parameters())


class Unimpressed(nn.Module):
    """Never leaves class 0, so that every input takes every step; remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.shown.append(inputs.detach())
        score = inputs.sum(1)
        return torch.stack([score + 1, 2 * score - 1e3], dim=1)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.2, 0.7)])
def test_stays_in_the_ball_and_in_the_bounds(bounds: tuple[float, float]) -> None:
    inputs = torch.rand(50, 6, generator=seeded(3)).clamp(*bounds)
    model = Unimpressed()
    threat = ThreatModel(bounds=bounds, radius=EPSILON)
    PGD(loss="margin", relative_step=0.3).attack(model, inputs, torch.zeros(50, dtype=torch.long), threat, seeded())
    shown = torch.stack(model.shown)
    assert shown.shape == (41, 50, 6)
    assert (shown - inputs).abs().max() <= EPSILON + 1e-6
    assert (shown.min().item(), shown.max().item()) == pytest.approx(bounds)
    # The margin grows with every input, so that the last iterate is the ball's upper corner, cut by the bounds.
    assert torch.allclose(shown[-1], (inputs + EPSILON).clamp(max=bounds[1]))
    # The start is uniform in the ball: neither its centre nor one corner.
    offset = (shown[0] - inputs)[(inputs > bounds[0] + EPSILON) & (inputs < bounds[1] - EPSILON)]
    assert offset.mean().abs() < 0.02
    assert offset.std().item() == pytest.approx(EPSILON / 3**0.5, rel=0.15)


def test_stays_in_the_l2_ball_and_in_the_bounds() -> None:
    inputs = torch.rand(400, 6, generator=seeded(3)) * 0.4 + 0.3
    model, threat = Unimpressed(), ThreatModel(radius=0.2)
    PGD(loss="margin", norm="l2", epsilon=0.2, relative_step=0.3, batch_size=400).attack(
        model, inputs, torch.zeros(400, dtype=torch.long), threat, seeded()
    )
    shown = torch.stack(model.shown)
    distances = (shown - inputs).norm(dim=2)
    assert distances.max() <= 0.2 + 1e-6
    # The margin grows with every input alike: the last iterate lies on the diagonal, at the radius.
    assert torch.allclose(shown[-1], inputs + 0.2 / 6**0.5, atol=1e-3)
    # The start is uniform in the ball: half of its volume lies within 0.5^(1/6) of the radius.
    assert (distances[0] < 0.2 * 0.5 ** (1 / 6)).double().mean().item() == pytest.approx(0.5, abs=0.08)
    assert (shown[0] - inputs).mean().abs() < 0.01


def test_bounds_cut_the_l2_ball() -> None:
    inputs, model = torch.rand(50, 6, generator=seeded(3)) * 0.1 + 0.9, Unimpressed()
    PGD(loss="margin", norm="l2", epsilon=0.8, relative_step=0.1).attack(
        model, inputs, torch.zeros(50, dtype=torch.long), THREAT, seeded()
    )
    shown = torch.stack(model.shown)
    assert shown.min() >= 0 and shown.max() <= 1
    assert torch.equal(shown[-1], torch.ones(50, 6))


def test_without_a_radius_of_its_own_l2_has_the_volume_of_the_linf_ball(
    model: nn.Module, right: tuple[Tensor, Tensor]
) -> None:
    # In two dimensions a square of side 2 r and a circle of radius R: R = 2 r / sqrt(pi).
    assert THREAT.in_l2(2).radius == pytest.approx(2 * EPSILON / math.pi**0.5)
    assert ThreatModel(radius=EPSILON, columns=(1, 3)).in_l2(9).radius == THREAT.in_l2(2).radius
    derived = PGD(norm="l2", steps=5).attack(model, *right, THREAT, seeded())
    stated = PGD(norm="l2", epsilon=THREAT.in_l2(64).radius, steps=5).attack(model, *right, THREAT, seeded())
    assert torch.equal(derived, stated) and 0 < derived.sum() < len(derived)


def test_the_same_seed_gives_the_same_answer_at_any_batch_size(model: nn.Module, right: tuple[Tensor, Tensor]) -> None:
    answers = [PGD(batch_size=size, steps=10).attack(model, *right, THREAT, seeded()) for size in (64, 1000)]
    assert torch.equal(*answers)


def test_own_radius_comes_first(model: nn.Module, right: tuple[Tensor, Tensor]) -> None:
    own = PGD(epsilon=EPSILON, steps=5).attack(model, *right, ThreatModel(radius=0.9), seeded())
    assert torch.equal(own, PGD(steps=5).attack(model, *right, THREAT, seeded()))


@pytest.mark.parametrize("settings", [{}, {"epsilon": EPSILON}])
def test_asks_for_a_threat_model(model: nn.Module, right: tuple[Tensor, Tensor], settings: dict) -> None:
    with pytest.raises(NotApplicable, match="no threat model"):
        PGD(**settings).attack(model, *right, None, seeded())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_only_the_columns_of_the_threat_model_move(norm: Norm) -> None:
    inputs, model = torch.rand(50, 6, generator=seeded(3)) * 0.6 + 0.2, Unimpressed()
    threat = ThreatModel(radius=EPSILON, columns=(0, 4))
    PGD(loss="margin", norm=norm, epsilon=EPSILON, relative_step=0.3).attack(
        model, inputs, torch.zeros(50, dtype=torch.long), threat, seeded()
    )
    moved = (torch.stack(model.shown) - inputs).abs().amax(dim=(0, 1))
    assert (moved > 0).tolist() == [True, False, False, False, True, False]
    reached = EPSILON if norm == "linf" else EPSILON / 2**0.5  # both columns alike
    assert torch.allclose((model.shown[-1] - inputs)[:, [0, 4]], torch.full((50, 2), reached), atol=1e-3)


def test_no_inputs(model: nn.Module) -> None:
    nothing = PGD().attack(model, torch.zeros(0, 64), torch.zeros(0, dtype=torch.long), THREAT, seeded())
    assert nothing.shape == (0,)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"loss": "hinge"}, {"epsilon": -0.1}, {"stepz": 3}])
def test_refuses_wrong_settings(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        PGD(**wrong)


def test_margin_is_positive_exactly_where_the_answer_is_wrong() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 1.0, 4.0]])
    margins = [
        margin_loss(row[None], label[None]).item() for row, label in zip(logits, torch.tensor([0, 0]), strict=True)
    ]
    assert margins == [2.0, -1.0]
