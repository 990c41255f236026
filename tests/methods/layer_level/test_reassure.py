import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable, UsageError
from study.methods.layer_level.reassure import Patch, Reassure, patched_regions
from study.models.patch_network import PatchNetwork
from study.models.piecewise_linear import PiecewiseLinear
from study.parts.network.linear_regions import Region, largest_excess
from study.problem.prediction import predict, right
from study.problem.problem import Problem
from study.problem.recipe import Recipe
from study.problem.task import TaskSpec
from study.repairs.run import RepairResult
from study.storage.models import load_model, save_model, weights_hash
from tests.fitting import finished
from tests.models.heads import LOWER, UPPER, network, points
from tests.problems import digits_problem


def repaired(problem: Problem, **options: Any) -> tuple[PatchNetwork, RepairResult]:
    result = finished(Reassure(**options), problem)
    assert result.outcome == "repaired", result.reason
    assert isinstance(result.model, PatchNetwork)
    return result.model, result


def plane(repair_inputs: Tensor, repair_labels: Tensor) -> Problem:
    """A network of two inputs in [-1, 1]; its train and validation splits are random points with its own labels."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
        for parameter in model.parameters():
            parameter.data.mul_(3)
    inputs = 2 * torch.rand(1000, 2, generator=torch.Generator().manual_seed(0)) - 1
    labels = model(inputs).argmax(1)
    split = Split("repair", repair_inputs, repair_labels)
    correct = right(model, split)
    return Problem(
        faulty=model,
        train=Split("train", inputs[:500], labels[:500]),
        validation=Split("validation", inputs[500:], labels[500:]),
        repair_set=split,
        failing=(~correct).nonzero().flatten(),
        passing=correct.nonzero().flatten(),
        task=TaskSpec(model, "table", 3, (2,)),
        recipe=Recipe(),
        seed=0,
    )


def mislabelled(count: int) -> Problem:
    """A plane with that many failing inputs, each to be of the class after the one that the network gives."""
    inputs = 1.6 * torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) - 0.8
    return plane(inputs, (plane(inputs, torch.zeros(count).long()).faulty(inputs).argmax(1) + 1) % 3)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_all_inputs_but_conflicting_ones_are_right_in_the_stored_model_and_the_faulty_one_is_untouched(
    batch_norm: bool, tmp_path: Path
) -> None:
    problem = digits_problem(batch_norm)
    before = weights_hash(problem.faulty)
    model, result = repaired(problem)
    save_model(model, tmp_path)
    restored = load_model(tmp_path)
    failing = problem.repair_set.subset(problem.failing)
    assert len(failing) >= 10
    assert int(right(restored, failing).sum()) == len(failing) - result.costs["conflicting_inputs"]
    assert torch.equal(predict(restored, problem.repair_set), predict(model, problem.repair_set))
    assert weights_hash(problem.faulty) == before == weights_hash(model.model)
    assert model.model is not problem.faulty
    assert result.costs["linear_programs"] > 0
    assert len(result.curves["patch/half_width"]) == result.costs["patches"]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_float64_fixes_the_same_and_the_support_at_each_patched_input_is_full(batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    model, _ = repaired(problem)
    failing = problem.repair_set.subset(problem.failing)
    double = copy.deepcopy(model).double()
    inputs = failing.tensors().inputs.double()
    assert torch.equal(double(inputs).argmax(1) == failing.labels, right(model, failing))

    features = double.trace(inputs)[1]
    rows, patches, values = double.support(features)
    support = torch.zeros(len(failing), len(model.patterns)).double().index_put((rows, patches), values)
    own = ((double.head.run(features)[0] >= 0)[:, None] == double.patterns).all(dim=2)
    assert bool((own.sum(dim=1) == 1).all())
    torch.testing.assert_close(support[own], torch.ones(len(failing)).double(), atol=1e-9, rtol=0)
    alone = (support > 0).sum(dim=1) == 1
    assert alone.any()
    added = double(inputs) - double.model(inputs)
    torch.testing.assert_close(added[alone], own.double()[alone] @ double.shifts, atol=1e-9, rtol=0)


def test_the_whole_region_gets_the_class_and_inputs_beyond_the_support_keep_their_logits() -> None:
    problem = mislabelled(1)
    model, _ = repaired(problem, gamma=5.0)
    region = Region.of(model.head.double(), model.patterns[0], -torch.ones(2).double(), torch.ones(2).double())
    inputs = 2 * torch.rand(50_000, 2, generator=torch.Generator().manual_seed(5)) - 1
    slack = inputs.double().numpy() @ region.rows.T + region.offsets
    low, high = problem.train.tensors().inputs.aminmax(dim=0)
    inside = torch.from_numpy((slack >= 0).all(axis=1)) & ((inputs >= low) & (inputs <= high)).all(dim=1)
    beyond = torch.from_numpy(np.maximum(-slack, 0).sum(axis=1) > 1 / 5.0 + 1e-5)
    assert int(inside.sum()) >= 1000
    assert int(beyond.sum()) >= 1000
    assert bool((model(inputs[inside]).argmax(1) == problem.repair_set.labels[0]).all())
    assert bool((problem.faulty(inputs[inside]).argmax(1) != problem.repair_set.labels[0]).any())
    assert torch.equal(model(inputs[beyond]), problem.faulty(inputs[beyond]))


def robust_optimum(region: Region, label: int, eps: float) -> float:
    """Least maximum norm of an affine patch p(x) = c x + d over the region: the paper's robust program (Farkas)."""
    d, classes = len(region.lower), len(region.logit_offsets)
    matrix = np.concatenate([-region.rows, np.eye(d), -np.eye(d)])
    bound = np.concatenate([region.offsets, region.upper, -region.lower])
    outer = [k for k in range(classes) if k != label]
    rows, start_d, top = len(bound), classes * d, classes * d + classes
    count = top + 1 + rows * (2 * classes + len(outer))
    equal: list[NDArray[np.float64]] = []
    less: list[NDArray[np.float64]] = []
    equal_to: list[float] = []
    less_than: list[float] = []

    def multipliers(weights: NDArray[np.float64], below: float, over: float, target: NDArray[np.float64]) -> None:
        """max over the region of (weights @ p + target @ x) <= below + over * Hmax, by a new vector of multipliers."""
        block = top + 1 + rows * len(less)
        for j in range(d):
            line = np.zeros(count)
            line[block : block + rows] = matrix[:, j]
            line[j:start_d:d] = -weights
            equal.append(line)
            equal_to.append(target[j])
        line = np.zeros(count)
        line[block : block + rows], line[start_d:top], line[top] = bound, weights, -over
        less.append(line)
        less_than.append(below)

    for k in range(classes):
        multipliers(np.eye(classes)[k], 0.0, 1.0, np.zeros(d))
        multipliers(-np.eye(classes)[k], 0.0, 1.0, np.zeros(d))
    for k in outer:
        row, offset = region.margin(k, label)
        multipliers(np.eye(classes)[k] - np.eye(classes)[label], -offset - eps, 0.0, row)
    bounds = [(None, None)] * (top + 1) + [(0, None)] * (count - top - 1)
    objective = np.eye(count)[top]
    solution = linprog(objective, np.array(less), np.array(less_than), np.array(equal), np.array(equal_to), bounds)
    assert solution.fun is not None
    return float(solution.fun)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.2)])
def test_the_patch_is_the_optimum_of_the_robust_program(activation: nn.Module) -> None:
    head = PiecewiseLinear(list(network(activation, batch_norm=True))).double()
    units, logits = head.run(points(8))
    for pattern, label in zip(units >= 0, (logits.argmax(1) + 1).remainder(4).tolist(), strict=True):
        region = Region.of(head, pattern, LOWER, UPPER)
        excess, solved = largest_excess(region, label, 1e-3)
        shift = Patch(pattern, label, excess).shift
        assert shift.abs().max().item() == pytest.approx(robust_optimum(region, label, 1e-3), abs=1e-9)
        assert 1 <= solved <= 3


def test_conflicting_inputs_of_one_region_are_reported_and_agreeing_ones_share_a_patch() -> None:
    centre = mislabelled(1)
    inputs = centre.repair_set.tensors().inputs + torch.tensor([[0.0, 0.0], [1e-4, 0.0], [0.0, 1e-4]])
    given = int(centre.faulty(inputs).argmax(1)[0])
    wanted, other = (given + 1) % 3, (given + 2) % 3
    problem = plane(inputs, torch.tensor([wanted, other, wanted]))
    model, result = repaired(problem)
    assert len(model.patterns) == 1
    assert result.costs["conflicting_inputs"] == 1
    assert right(model, problem.repair_set).tolist() == [True, False, True]
    assert result.curves["locality/fixed"][-1][1] == pytest.approx(2 / 3)
    assert len(result.curves["locality/gamma"]) == 1


def test_gamma_doubles_until_overlapping_patches_leave_each_other_alone() -> None:
    problem = mislabelled(25)
    model, result = repaired(problem, gamma=0.01)
    gammas = [value for _, value in result.curves["locality/gamma"]]
    assert len(gammas) > 1
    assert gammas == [0.01 * 2**i for i in range(len(gammas))]
    assert model.gamma.item() == gammas[-1]
    assert bool(right(model, problem.repair_set).all())
    weaker, _ = repaired(problem, gamma=0.01, gamma_max=0.02)
    assert not bool(right(weaker, problem.repair_set).all())


SOFT: dict[str, Any] = {
    "area": False, "locality": "validation", "gamma": 0.01, "gamma_max": 20.0, "combine": "sum",
}  # fmt: skip


def test_validation_drops_patches_that_alone_do_harm_and_takes_the_gamma_that_fixes_most() -> None:
    problem = digits_problem()
    model, result = repaired(problem, **SOFT)
    before = right(problem.faulty, problem.validation)
    failing = problem.repair_set.subset(problem.failing)
    features = model.trace(failing.tensors().inputs)[1].detach().double()
    found, _ = patched_regions(model.head.double(), features, failing.labels, 1e-3)
    everything = PatchNetwork(model.model, model.head_names, len(found), "sum")
    everything.patterns.copy_(torch.stack([patch.pattern for patch in found]))
    everything.shifts.copy_(torch.stack([patch.shift for patch in found]))

    expected = []
    for _, gamma in result.curves["locality/gamma"]:
        everything.gamma.fill_(gamma)
        alone = [everything.only(torch.arange(len(found)) == r) for r in range(len(found))]
        harmless = torch.tensor([int(right(single, problem.validation).sum()) >= int(before.sum()) for single in alone])
        after = right(everything.only(harmless), problem.validation)
        expected.append((int(after.sum()), int((after & ~before).sum()), int(harmless.sum()), gamma))
    counts = [round(value * len(before)) for _, value in result.curves["validation/accuracy"]]
    assert [count for count, *_ in expected] == counts
    assert [kept for _, _, kept, _ in expected] == [value for _, value in result.curves["locality/patches"]]
    assert any(0 < kept < len(found) for _, _, kept, _ in expected)
    allowed = [each for each in expected if each[0] >= int(before.sum())]
    best = max(allowed, key=lambda each: each[1])
    assert len(allowed) < len(expected) and best[1] > 0
    assert (len(model.patterns), model.gamma.item()) == best[2:]
    assert result.costs["patches"] == len(model.patterns) and result.costs["linear_programs"] == 0


def test_patches_that_all_break_validation_inputs_are_no_repair() -> None:
    problem = mislabelled(3)  # its validation split has the network's own labels: what a patch changes, it breaks
    result = finished(Reassure(**SOFT | {"gamma_max": 0.02}), problem)
    assert (result.outcome, result.reason) == ("failure", "no patch keeps validation accuracy")


@pytest.mark.parametrize("options", [{"points": 4}, {"max_points": 4}, {"points": 9, "max_points": 4}])
def test_so_many_inputs_are_patched_the_same_ones_each_time(options: dict[str, int]) -> None:
    models = [repaired(digits_problem(), area=False, **options)[0] for _ in range(2)]
    assert len(models[0].patterns) == 4
    assert weights_hash(models[0]) == weights_hash(models[1])


def test_explicit_bounds_confine_the_region() -> None:
    problem = mislabelled(3)
    narrow, _ = repaired(problem, bounds=(-0.01, 0.01))
    wide, _ = repaired(problem, bounds=(-50.0, 50.0))
    assert bool((narrow.shifts.abs().amax(1) <= wide.shifts.abs().amax(1) + 1e-9).all())
    assert bool((narrow.shifts.abs().amax(1) < wide.shifts.abs().amax(1)).any())


class ConvNet(nn.Module):
    """Convolution, the activation, pooling and a dense part."""

    def __init__(self, dense: nn.Module, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3), activation or nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.dense = dense

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.dense(self.features(inputs))
        return result


def task(dense: nn.Module) -> TaskSpec:
    return TaskSpec(ConvNet(dense).eval(), "image", 3, (1, 8, 8))


@pytest.mark.parametrize(
    ("dense", "reason"),
    [
        (nn.Linear(4, 3), "needs a hidden ReLU between two dense layers: ConvNet has none"),
        (nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3)), "needs a hidden ReLU"),
        (nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)), "needs a hidden ReLU"),
        (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.Softmax(1)), "does not end in a chain"),
        (
            nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.ReLU(), nn.Linear(5, 3)),
            "no running statistics",
        ),
    ],
)
def test_other_heads_are_unadaptable(dense: nn.Module, reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        Reassure().check(task(dense))


def test_a_head_that_is_no_vector_function_is_unadaptable() -> None:
    model = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    with pytest.raises(NotApplicable, match="one feature vector per input"):
        Reassure().check(TaskSpec(model, "table", 3, (4, 8)))


def test_a_dense_head_with_a_hidden_relu_is_adaptable() -> None:
    Reassure().check(task(nn.Sequential(nn.Linear(4, 5), nn.LeakyReLU(), nn.Dropout(), nn.Linear(5, 3))))
    Reassure().check(digits_problem(batch_norm=True).task)


def test_gamma_beyond_its_maximum_is_refused() -> None:
    with pytest.raises(UsageError, match="gamma_max"):
        Reassure(gamma=2.0, gamma_max=1.0)
