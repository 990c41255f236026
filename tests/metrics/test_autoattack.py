"""AutoAttack behind our protocol, for every number of classes that changes its attacks."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from study.data.threat import Norm, ThreatModel
from study.errors import NotApplicable, UsageError
from study.metrics.autoattack import AutoAttackRobustAccuracy, Doubts, attack_sequence
from study.metrics.sampling import Sample
from study.runtime.progress import Progress

Version = Literal["reduced", "standard"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Nearest(nn.Module):
    """Logits are minus the squared distances to one prototype per class."""

    def __init__(self, classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.rand(classes, torch.Size(shape).numel(), generator=seeded(classes)))

    def forward(self, inputs: Tensor) -> Tensor:
        return -(inputs.flatten(1)[:, None] - self.prototypes).square().sum(-1)


def points(model: Nearest, shape: tuple[int, ...], count: int = 24) -> tuple[Tensor, Tensor]:
    """Points of the box, labelled by the nearest prototype but for the first three, which the model gets wrong."""
    inputs = torch.rand(count, *shape, generator=seeded(1))
    with torch.no_grad():
        order = model(inputs).sort(dim=1).indices
    return inputs, torch.cat([order[:3, -2], order[3:, -1]])


def robust_accuracy(
    model: Nearest, shape: tuple[int, ...], epsilon: float, version: Version, norm: Norm = "linf"
) -> float:
    inputs, target = points(model, shape)
    metric = AutoAttackRobustAccuracy(steps=10, queries=20, version=version, norm=norm, epsilon=epsilon)
    sample = Sample(inputs, target, torch.ones(len(target), dtype=torch.bool))
    values = metric.measured(model, model, sample, ThreatModel(radius=epsilon), seeded()).values
    assert values[f"before/{metric.name}"] == values[f"after/{metric.name}"]
    return values[f"after/{metric.name}"]


@pytest.mark.parametrize("version", ["reduced", "standard"])
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_runs_for_few_and_many_classes(classes: int, version: Version) -> None:
    model = Nearest(classes, (1, 5, 5))
    assert robust_accuracy(model, (1, 5, 5), 1e-5, version=version) == 21 / 24
    assert robust_accuracy(model, (1, 5, 5), 0.9, version=version) == 0
    assert 0 < robust_accuracy(model, (1, 5, 5), 0.03, version=version) < 21 / 24


@pytest.mark.parametrize("version", ["reduced", "standard"])
@pytest.mark.parametrize("classes", [2, 10])
def test_in_l2_it_reaches_the_boundary_at_its_distance(classes: int, version: Version) -> None:
    shape = (1, 5, 5)
    model = Nearest(classes, shape)
    inputs, target = points(model, shape)
    # The boundary to class k is half way between the two prototypes: the distance to it is known.
    logits, prototypes = model(inputs), model.prototypes
    own, label = logits.gather(1, target[:, None]), prototypes[target]
    apart = (label[:, None] - prototypes).norm(dim=2)
    distances = ((own - logits) / (2 * apart)).scatter(1, target[:, None], float("inf")).amin(dim=1)
    radius = distances.median().item()
    found = robust_accuracy(model, shape, radius, version, "l2")
    # The bounds of an input may keep it from the boundary, never bring it nearer.
    assert (distances > radius).double().mean().item() <= found <= 21 / 24 - 0.2
    assert robust_accuracy(model, shape, 1e-5, version, "l2") == 21 / 24


@pytest.mark.parametrize("shape", [(9,), (4, 6), (3, 4, 4)])
def test_takes_tables_and_images(shape: tuple[int, ...]) -> None:
    assert robust_accuracy(Nearest(4, shape), shape, 0.9, version="standard") == 0


@pytest.mark.parametrize(
    ("classes", "reduced", "standard"),
    [
        (2, ["apgd-ce", "fab"], ["apgd-ce", "fab", "square"]),
        (3, ["apgd-ce", "fab-t"], ["apgd-ce", "fab-t", "square"]),
        (4, ["apgd-ce", "apgd-t"], ["apgd-ce", "apgd-t", "fab-t", "square"]),
    ],
)
def test_classes_decide_the_attacks(classes: int, reduced: list[str], standard: list[str]) -> None:
    assert attack_sequence("reduced", classes) == reduced
    assert attack_sequence("standard", classes) == standard


def test_other_bounds_are_rescaled() -> None:
    unit = Nearest(4, (9,))
    inputs, target = points(unit, (9,))

    class Wide(nn.Module):
        def forward(self, wide: Tensor) -> Tensor:
            return unit((wide + 1) / 4)

    right = torch.ones(len(target), dtype=torch.bool)
    metric = AutoAttackRobustAccuracy(steps=10)
    narrow = metric.measured(unit, unit, Sample(inputs, target, right), ThreatModel(radius=0.05), seeded()).values
    threat = ThreatModel(bounds=(-1.0, 3.0), radius=0.2)
    wide = metric.measured(Wide(), Wide(), Sample(inputs * 4 - 1, target, right), threat, seeded()).values
    assert 0 < narrow["after/robust_accuracy"] < 1
    assert wide == pytest.approx(narrow, abs=1 / 24)


@pytest.mark.parametrize("classes", [2, 4])
def test_leaves_no_trace(classes: int) -> None:
    model = Nearest(classes, (9,))
    state = torch.get_rng_state()
    robust_accuracy(model, (9,), 0.05, version="standard")
    assert model.prototypes.grad is None and model.prototypes.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_right_and_wrong_inputs_by_the_seed() -> None:
    model = Nearest(4, (9,))
    inputs, target = points(model, (9,))
    metric = AutoAttackRobustAccuracy(steps=1, samples=8)
    sample = Sample(inputs, target, torch.zeros(len(target), dtype=torch.bool))
    rates = [
        metric.measured(model, model, sample, ThreatModel(radius=1e-6), seeded(seed)).values["after/robust_accuracy"]
        for seed in (0, 0, 1, 2, 3)
    ]
    assert rates[0] == rates[1]
    assert len(set(rates)) > 1
    assert all(rate >= 5 / 8 for rate in rates)


@pytest.mark.parametrize(
    ("threat", "reason"),
    [(None, "no threat model"), (ThreatModel(radius=0.1, columns=(0, 3)), "only some columns may move")],
)
def test_does_not_apply_without_a_ball_around_the_whole_input(threat: ThreatModel | None, reason: str) -> None:
    model = Nearest(4, (9,))
    inputs, target = points(model, (9,))
    with pytest.raises(NotApplicable, match=reason):
        AutoAttackRobustAccuracy().measured(model, model, Sample(inputs, target, target == target), threat, seeded())


def test_does_not_apply_to_tokens() -> None:
    tokens, target = torch.ones(4, 9, dtype=torch.long), torch.zeros(4, dtype=torch.long)
    model = Nearest(4, (9,))
    with pytest.raises(NotApplicable, match="integers"):
        AutoAttackRobustAccuracy().measured(
            model, model, Sample(tokens, target, target == 0), ThreatModel(radius=0.1), seeded()
        )


def test_the_protocol_is_that_of_the_measurement() -> None:
    target = torch.zeros(30, dtype=torch.long)
    sample, threat = Sample(torch.rand(30, 9), target, target == 1), ThreatModel(radius=0.1)
    reduced = "AutoAttack (reduced), L-infinity radius 0.1, 100 steps, 30 inputs"
    assert AutoAttackRobustAccuracy().protocol(sample, threat) == reduced
    standard = AutoAttackRobustAccuracy(version="standard", epsilon=0.2, steps=5, queries=9, samples=20)
    text = "AutoAttack (standard), L-infinity radius 0.2, 5 steps, 9 queries, 20 inputs"
    assert standard.protocol(sample, threat) == text
    l2 = AutoAttackRobustAccuracy(norm="l2")
    radius = threat.in_l2(9).radius
    assert l2.protocol(sample, threat) == f"AutoAttack (reduced), L2 radius {radius:g}, 100 steps, 30 inputs"
    assert (l2.name, l2.describe().label) == ("l2_robust_accuracy", "L2 robust accuracy")


@pytest.mark.parametrize("version", ["reduced", "standard"])
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("epsilon", [1e-5, 0.03, 0.9])
def test_progress_ends_at_its_total_whatever_is_fooled(
    epsilon: float, classes: int, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Progress] = []

    class Recorded(Progress):
        def __enter__(self) -> Progress:
            shown.append(self)
            return self

    monkeypatch.setattr("study.metrics.autoattack.Progress", Recorded)
    robust_accuracy(Nearest(classes, (1, 5, 5)), (1, 5, 5), epsilon, version)
    progress = shown[0]
    assert progress.title == "attack (robust accuracy)"
    assert progress.total is not None
    assert progress.done == progress.total > 0


class Rounded(Nearest):
    """The same of inputs rounded to eighths: no gradient leads anywhere."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward((inputs * 8).round() / 8 + 0 * inputs)


class Random(Nearest):
    """Adds noise to every answer."""

    def forward(self, inputs: Tensor) -> Tensor:
        logits = super().forward(inputs)
        return logits + 0.01 * torch.randn_like(logits)


class Moving(Nearest):
    """Takes a gradient in order to answer."""

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            moved = inputs.detach().requires_grad_()
            (step,) = torch.autograd.grad(super().forward(moved).sum(), moved)
        return super().forward(inputs + 0 * step)


class Sure(Nearest):
    """Answers with probabilities."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).softmax(1)


@pytest.mark.parametrize(
    ("doubted", "version", "flags"),
    [
        (Rounded, "reduced", "zero gradients"),
        (Rounded, "standard", "zero gradients, Square finds more"),
        (Random, "reduced", "random outputs"),
        (Moving, "reduced", "gradients inside the model"),
        (Sure, "reduced", "probabilities for logits"),
        (Nearest, "standard", ""),
    ],
)
def test_says_how_it_doubts_its_figure(
    doubted: type[Nearest], version: Version, flags: str, caplog: pytest.LogCaptureFixture
) -> None:
    shape, threat = (1, 5, 5), ThreatModel(radius=0.08)
    plain, other = Nearest(4, shape), doubted(4, shape)
    inputs, target = points(plain, shape)
    sample = Sample(inputs, target, torch.ones(len(target), dtype=torch.bool))
    metric = AutoAttackRobustAccuracy(steps=5, queries=40, version=version)
    after = metric.measured(plain, other, sample, threat, seeded())
    assert after.flags == ({"robust_accuracy": f"after: {flags}"} if flags else {})
    # What is said of one model is not said of the next.
    before = metric.measured(other, plain, sample, threat, seeded())
    assert before.flags == ({"robust_accuracy": f"before: {flags}"} if flags else {})
    told = [f"AutoAttack doubts its robust accuracy ({when}: {flags})" for when in ("after", "before") if flags]
    assert caplog.messages == told


def test_a_warning_that_is_not_known_stands_in_its_own_words() -> None:
    doubts = Doubts()
    for _ in range(2):
        doubts.warning("the moon is full")
    assert doubts.flags == ["the moon is full"]


def test_without_its_package_it_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.metrics.autoattack.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'repair-study\[autoattack\]'"):
        AutoAttackRobustAccuracy()
