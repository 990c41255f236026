"""The closed forms are compared with the explicit ReLU networks of the paper, on a head of three inputs."""

import copy
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from study.models.patch_network import Combination, PatchNetwork
from study.models.piecewise_linear import PiecewiseLinear
from study.parts.network.linear_regions import Region
from study.parts.network.structure import Structure
from study.storage.models import load_model, save_model
from tests.models.heads import HEAD, LOWER, UPPER, network, points
from tests.problems import digits_problem

CENTRES = 6


def patched(
    combine: Combination = "telescoping",
    gamma: float = 0.5,
    activation: nn.Module | None = None,
    batch_norm: bool = False,
) -> PatchNetwork:
    """Six patches with random shifts, on the regions of six random points of the head 3-7-5-4."""
    model = network(activation or nn.ReLU(), batch_norm)
    result = PatchNetwork(model, HEAD, CENTRES, combine)
    units, _ = result.head.run(points(CENTRES, seed=5))
    assert len((units >= 0).unique(dim=0)) == CENTRES
    result.patterns.copy_(units >= 0)
    result.shifts.copy_(3 * torch.randn(CENTRES, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    result.gamma.fill_(gamma)
    return result


def dense_support(network: PatchNetwork, inputs: Tensor) -> Tensor:
    """g of every input and patch, [B, R]."""
    rows, patches, values = network.support(network.trace(inputs)[1])
    return torch.zeros(len(inputs), len(network.patterns)).to(values).index_put((rows, patches), values)


def explicit_support(network: PatchNetwork, inputs: Tensor) -> Tensor:
    """The paper's support network, with the regions written out: relu(sum relu(n s + 1) - relu(n s) - H + 1)."""
    head, columns = PiecewiseLinear(network.head.modules).double(), []
    for pattern in network.patterns:
        region = Region.of(head, pattern, LOWER, UPPER)
        slack = network.gamma * (inputs @ torch.tensor(region.rows).T + torch.tensor(region.offsets))
        columns.append((((slack + 1).relu() - slack.relu()).sum(1) - len(pattern) + 1).relu())
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("gamma", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.2)])
def test_the_support_is_that_of_the_explicit_network(activation: nn.Module, batch_norm: bool, gamma: float) -> None:
    model = patched(gamma=gamma, activation=activation, batch_norm=batch_norm)
    expected = explicit_support(model, points(500))
    assert (expected > 0).any()
    assert (expected == 0).any() or gamma < 0.1
    torch.testing.assert_close(dense_support(model, points(500)), expected, atol=1e-9, rtol=0)


def test_the_correction_is_that_of_the_explicit_networks() -> None:
    support = torch.rand(40, CENTRES, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    support = support * (support > 0.3)

    def explicit(patch: Tensor, g: Tensor) -> Tensor:
        k = patch.abs().max()
        raised = k * g[:, None] - k
        return (patch + raised).relu() - (-patch + raised).relu()

    added, telescoped = patched("sum"), patched("telescoping")
    singles = [explicit(shift, support[:, r]) for r, shift in enumerate(added.shifts)]
    torch.testing.assert_close(added.correction(support), sum(singles[1:], singles[0]), atol=1e-9, rtol=0)
    expected, last = torch.zeros(40, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for r, shift in enumerate(telescoped.shifts):
        expected = expected + explicit(shift - last, support[:, r:].amax(dim=1))
        last = shift
    torch.testing.assert_close(telescoped.correction(support), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("combine", ["telescoping", "sum"])
def test_full_support_of_one_patch_adds_its_shift(combine: Combination) -> None:
    model = patched(combine)
    torch.testing.assert_close(model.correction(torch.eye(CENTRES).double()), model.shifts, atol=1e-9, rtol=0)


@pytest.mark.parametrize("combine", ["telescoping", "sum"])
def test_each_patch_alone_adds_what_a_network_of_it_alone_does(combine: Combination) -> None:
    model = patched(combine, gamma=0.2)
    rows, patches, support = model.support(points(200))
    added = model.alone(patches, support)
    assert len(rows) > 200
    for r in range(CENTRES):
        single = model.only(torch.arange(CENTRES) == r)
        assert len(single.patterns) == 1 and single.gamma == model.gamma and single.combine == combine
        expected = torch.zeros(200, 4, dtype=torch.float64).index_put((rows[patches == r],), added[patches == r])
        torch.testing.assert_close(single(points(200)) - model.model(points(200)), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("combine", ["telescoping", "sum"])
def test_outputs_are_those_of_support_and_correction_and_untouched_ones_are_identical(combine: Combination) -> None:
    model = patched(combine, gamma=2.0)
    support = dense_support(model, points(500))
    untouched = (support == 0).all(dim=1)
    assert 20 < int(untouched.sum()) < 480
    expected = model.model(points(500)) + model.correction(support)
    torch.testing.assert_close(model(points(500)), expected, atol=1e-9, rtol=0)
    assert torch.equal(model(points(500))[untouched], model.model(points(500))[untouched])


def test_without_patches_the_logits_are_identical() -> None:
    assert torch.equal(PatchNetwork(network(nn.ReLU()), HEAD, 0)(points(50)), network(nn.ReLU())(points(50)))


class FunctionalHead(nn.Module):
    """The ReLU and the reshaping of its head are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(3, 7).double(), nn.Linear(7, 4).double()

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.out(torch.flatten(torch.relu(self.hidden(inputs)), 1))
        return logits


def test_a_head_may_run_functions_instead_of_modules() -> None:
    model = FunctionalHead()
    patched_model = PatchNetwork(model, ["hidden", "relu", "flatten", "out"], 1)
    assert patched_model.head.widths == [7] and patched_model.head.classes == 4
    torch.testing.assert_close(patched_model.head.run(points(20))[1], model(points(20)))
    assert patched_model.head_names == Structure(model).head.names


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = patched(gamma=0.2)
    whole = model(points(200))
    monkeypatch.setattr("study.models.patch_network.LARGEST_BLOCK", 50)
    torch.testing.assert_close(model(points(200)), whole, atol=1e-12, rtol=0)


def test_the_output_is_continuous() -> None:
    model = patched(gamma=2.0)
    ends = points(2, seed=5)
    steps = torch.linspace(0, 1, 20001, dtype=torch.float64)[:, None]
    change = (
        model((1 - steps) * ends[0] + steps * ends[1]) - model.model((1 - steps) * ends[0] + steps * ends[1])
    ).diff(dim=0)
    assert change.abs().sum() > 1
    assert change.abs().max() < 0.02


def test_a_larger_gamma_touches_fewer_inputs() -> None:
    touched = [(dense_support(patched(gamma=gamma), points(500)) > 0).any(dim=1) for gamma in (1.0, 3.0, 10.0, 30.0)]
    for wide, narrow in itertools.pairwise(touched):
        assert not (narrow & ~wide).any()
        assert narrow.sum() < wide.sum()


@pytest.mark.parametrize("combine", ["telescoping", "sum"])
def test_gradients_pass_through_the_support(combine: Combination) -> None:
    model = patched(combine, gamma=0.3)
    inputs = points(5).requires_grad_()
    assert torch.autograd.gradcheck(model, (inputs,), eps=1e-7, atol=1e-5)
    assert not torch.allclose(
        torch.autograd.grad(model(inputs).sum(), inputs)[0], torch.autograd.grad(model.model(inputs).sum(), inputs)[0]
    )


def test_gradients_are_those_of_the_model_where_nothing_is_touched() -> None:
    model = patched(gamma=1e6)
    outside = (dense_support(model, points(30)) == 0).all(dim=1)
    inputs = points(30)[outside].requires_grad_()
    assert len(model.support(inputs)[0]) == 0
    assert len(inputs) > 20
    gradient = torch.autograd.grad(model(inputs).sum(), inputs)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(model.model(inputs).sum(), inputs)[0])


def test_a_copy_shares_nothing() -> None:
    model = patched()
    copied, before = copy.deepcopy(model), model(points(50))
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert torch.equal(model(points(50)), before)
    assert torch.equal(copied.trace(points(50))[0], torch.zeros(50, 4).double())
    assert torch.equal(copied.head.affine(0, points(50)), torch.zeros(50, 7).double())


def stored(folder: Path) -> tuple[PatchNetwork, Tensor]:
    """A patched digits network in its folder, and inputs."""
    problem = digits_problem(batch_norm=True)
    faulty = problem.copy()
    model = PatchNetwork(faulty, Structure(faulty).head.names, 5, "sum")
    inputs = problem.repair_set.tensors().inputs
    units, _ = model.head.run(model.trace(inputs[:5])[1])
    model.patterns.copy_(units >= 0)
    model.shifts.copy_(torch.randn(5, 10, generator=torch.Generator().manual_seed(0)))
    model.gamma.fill_(0.1)
    save_model(model, folder)
    return model, inputs


def test_a_stored_model_gives_the_same_logits(tmp_path: Path) -> None:
    model, inputs = stored(tmp_path)
    assert not torch.equal(model(inputs), model.model(inputs))
    assert torch.equal(load_model(tmp_path)(inputs), model(inputs))


@pytest.mark.slow
def test_a_stored_model_gives_the_same_logits_in_a_fresh_process(tmp_path: Path) -> None:
    model, inputs = stored(tmp_path)
    torch.save((inputs, model(inputs).detach()), tmp_path / "expected.pt")
    script = (
        "import sys, torch; from pathlib import Path; from study.storage.models import load_model;"
        "torch.set_num_threads(1);"
        "folder = Path(sys.argv[1]); inputs, expected = torch.load(folder / 'expected.pt');"
        "sys.exit(not torch.equal(load_model(folder)(inputs), expected))"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 0
