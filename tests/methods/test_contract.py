"""One table of approaches: every promise of the contract, checked for every row, with BatchNorm as well."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from safetensors.torch import load_file, save_file
from torch import nn

from study.errors import NotApplicable
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.repairs.approach import Approach
from study.repairs.run import RepairResult
from study.storage.models import load_model, save_model, weights_hash
from tests.commands import compositions
from tests.fitting import finished
from tests.problems import digits_problem, digits_splits


@dataclass(frozen=True)
class Row:
    """An approach and what it promises.

    settings: what makes it quick here; idle: settings under which it must return the weights unchanged bit for bit,
    None if there are none; exact: every failing repair input is right afterwards (of the network with BatchNorm:
    without, some share a linear region and want different answers); images_only, hidden_relu: what it refuses without.
    """

    method: str
    level: str
    settings: tuple[str, ...] = ()
    idle: tuple[str, ...] | None = None
    exact: bool = False
    images_only: bool = False
    hidden_relu: bool = False


GENTLE_MIX = ("method.epochs=6", "method.train_fraction=1.0", "method.severity=1.0", "method.tol=0.05")
"""8x8 digits do not bear AugMix at full strength for long."""
FEW_VIEWS = ("method.epochs=6", "method.lr=0.05", "method.severity=1.0", "method.views=2", "method.max_ssl_steps=5")
STYLE = ("method.epochs=8", "method.severity=1.0", "method.batch_size=16")
PROBED = ("method.probe_inputs=300", "method.probe_epochs=8", "method.lr=0.02", "method.guard=false")
ROWS = [
    Row("finetune", "model", ("method.epochs=4",), idle=("method.epochs=0",)),
    Row("retrained", "model"),
    Row("joint", "model", ("method.epochs=12",), idle=("method.epochs=0",)),
    Row("fsgmix", "model", GENTLE_MIX, idle=("method.epochs=0",), images_only=True),
    Row("reassure", "layer", exact=True, hidden_relu=True),
    Row("reassure_soft", "layer", hidden_relu=True),
    Row("three_m_dnn", "layer", ("method.points=5", "method.max_evaluations=60")),
    Row("three_m_dnn_protected", "layer", exact=True),
    Row("aprnn", "layer", ("method.protect=30",), exact=True),
    Row("prdnn", "layer", ("method.protect=30",), exact=True),
    Row("apricot", "model", ("method.sub_epochs=5",), idle=("method.max_rounds=0", "method.sub_epochs=1")),
    Row("editable_training", "model", ("method.epochs=6",), idle=("method.epochs=0", "method.phase2=none")),
    Row("deeprepair", "model", STYLE, idle=("method.epochs=0",), images_only=True),
    Row("hybridrepair", "model", FEW_VIEWS, idle=("method.warm_epochs=0", "method.epochs=0"), images_only=True),
    Row("hudd", "model", ("method.batch_size=32",), idle=("method.epochs=0",)),
    Row("care", "neuron", ("method.iterations=30",)),
    Row("genmunn", "neuron", ("method.max_rounds=40", "method.rank=random", "method.guard=false")),
    Row("arachne", "neuron", ("method.population=30", "method.generations=15", "method.neg_fraction=0.5")),
    Row("vere", "neuron", ("method.rounds=8",), hidden_relu=True),
    Row("neurecover", "neuron", ("method.particles=30", "method.iterations=20")),
    Row("distrrep", "neuron", ("method.particles=30", "method.iterations=20")),
    Row("nnrepair", "neuron", ("method.combination=conf", "method.n_pass=20", "method.guard=false")),
    Row(
        "irepair",
        "neuron",
        ("method.lr=1e-4", "method.max_iters=40", "method.per_class=10"),
        idle=("method.max_iters=0",),
    ),
    Row("inner", "neuron", (*PROBED, "method.epochs=4"), idle=(*PROBED, "method.epochs=0")),
]
IDS = [row.method for row in ROWS]
every_row = pytest.mark.parametrize("row", ROWS, ids=IDS)
with_and_without_norm = pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])


def approach(method: str, *settings: str) -> Approach:
    """The approach of a configuration."""
    made = instantiate(configuration(method, *settings), _convert_="all")
    assert isinstance(made, Approach)
    return made


@cache
def configuration(method: str, *settings: str) -> DictConfig:
    """Composed once; do not change it."""
    (job,) = compositions(f"+method={method}", *settings)
    return cast(DictConfig, job.config.method)


@cache
def outcome(row: Row, batch_norm: bool, seed: int = 0) -> RepairResult:
    """The row's repair of a network on digits, computed once."""
    return finished(approach(row.method, *row.settings), with_seed(digits_problem(batch_norm), seed))


@cache
def repeated(row: Row) -> tuple[RepairResult, bool]:
    """The repair of the network without BatchNorm, run again, and whether the global random state stayed as it was."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    result = finished(approach(row.method, *row.settings), digits_problem())
    return result, torch.equal(torch.rand(3), expected)


def with_seed(problem: Problem, seed: int) -> Problem:
    """The same problem for another seed of the repair."""
    return dataclasses.replace(problem, seed=seed)


@every_row
def test_it_says_what_it_is(row: Row) -> None:
    made = approach(row.method)
    assert made.level == row.level
    assert made.source


@every_row
@with_and_without_norm
def test_it_repairs_and_leaves_the_faulty_model_alone(row: Row, batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    before = weights_hash(problem.faulty)
    result = outcome(row, batch_norm)
    assert result.outcome == "repaired", result.reason
    assert weights_hash(problem.faulty) == before and not problem.faulty.training
    assert result.model is not None and not result.model.training
    old = {tensor.data_ptr() for tensor in problem.faulty.state_dict().values()}
    assert not old & {tensor.data_ptr() for tensor in result.model.state_dict().values()}
    assert result.changed and result.costs["weights_changed"] > 0
    assert result.costs["repair_set_fixed"] > 0
    assert result.seconds > 0


@every_row
@with_and_without_norm
def test_the_repaired_model_has_the_call_signature_of_the_faulty_one(row: Row, batch_norm: bool) -> None:
    problem, result = digits_problem(batch_norm), outcome(row, batch_norm)
    assert result.model is not None
    inputs = digits_splits()["test"].tensors().inputs[:7].requires_grad_()
    logits = result.model(inputs)
    assert logits.shape == problem.faulty(inputs).shape and logits.dtype == torch.float32
    assert bool(logits.isfinite().all())
    (gradient,) = torch.autograd.grad(logits.sum(), inputs)  # attacks need it
    assert bool(gradient.isfinite().all()) and bool(gradient.any())


@every_row
def test_the_same_seed_gives_the_same_model_whatever_the_global_state(row: Row) -> None:
    torch.manual_seed(123456)
    first, again = outcome(row, False).model, repeated(row)[0].model
    assert first is not None and again is not None
    ours, theirs = first.state_dict(), again.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@every_row
def test_it_leaves_the_global_random_state_alone(row: Row) -> None:
    _, left_alone = repeated(row)
    assert left_alone


LOADED = """
import sys, torch
from pathlib import Path
from safetensors.torch import load_file, save_file
from study.storage.models import load_model
torch.set_num_threads(1)
folder = Path(sys.argv[1])
for model in sorted(folder.glob("*-model")):
    inputs = load_file(folder / "inputs.safetensors")["inputs"]
    with torch.inference_mode():
        save_file({"logits": load_model(model)(inputs)}, folder / f"{model.name}.logits")
"""


def test_a_stored_model_gives_the_same_logits_in_a_fresh_process(tmp_path: Path) -> None:
    inputs = digits_splits()["test"].tensors().inputs
    save_file({"inputs": inputs}, tmp_path / "inputs.safetensors")
    models: dict[str, nn.Module] = {}
    for row in ROWS:
        for batch_norm in (False, True):
            name = f"{row.method}-{batch_norm}-model"
            model = outcome(row, batch_norm).model
            assert model is not None
            models[name] = model
            (tmp_path / name).mkdir()
            save_model(model, tmp_path / name)
            named = json.dumps(json.loads((tmp_path / name / "model.json").read_text()))
            assert '"class": "study.' in named and '"class": "tests' not in named
    subprocess.run([sys.executable, "-c", LOADED, str(tmp_path)], check=True)
    for name, model in models.items():
        with torch.inference_mode():
            assert torch.equal(model(inputs), load_file(tmp_path / f"{name}.logits")["logits"]), name


@every_row
def test_idle_settings_return_the_weights_bit_for_bit(row: Row) -> None:
    if row.idle is None:
        pytest.skip("it has no settings under which it does nothing")
    problem = digits_problem(batch_norm=True)
    result = finished(approach(row.method, *row.idle), problem)
    assert result.costs["weights_changed"] == 0
    assert result.outcome == "failure" and result.reason == "no failing repair input is right afterwards"


@every_row
def test_an_exact_approach_repairs_every_failing_input_of_the_stored_model(row: Row, tmp_path: Path) -> None:
    if not row.exact:
        pytest.skip("it makes no such promise")
    problem, result = digits_problem(batch_norm=True), outcome(row, True)
    assert result.model is not None
    save_model(result.model, tmp_path)
    failing = problem.repair_set.subset(problem.failing)
    assert bool((predict(load_model(tmp_path), failing).argmax(1) == failing.labels).all())


def without_images(problem: Problem) -> Problem:
    """The problem as one of a table."""
    return dataclasses.replace(problem, task=dataclasses.replace(problem.task, kind="table"))


@every_row
def test_what_a_subject_lacks_is_said_before_any_work(row: Row) -> None:
    task = without_images(digits_problem()).task
    if row.images_only:
        with pytest.raises(NotApplicable, match="image"):
            approach(row.method).check(task)
    else:
        approach(row.method).check(task)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    if row.hidden_relu:
        with pytest.raises(NotApplicable, match="ReLU"):
            approach(row.method).check(dataclasses.replace(digits_problem().task, model=linear))


@every_row
def test_a_time_budget_ends_it_as_corrupted(row: Row) -> None:
    made = approach(row.method, *row.settings, "method.max_seconds=0.000001")
    result = finished(made, digits_problem())
    assert result.outcome == "corrupted" and "time budget" in result.reason


EDGES: dict[str, Callable[[Problem], torch.Tensor]] = {
    "one failing input": lambda problem: problem.failing[:1],
    "all of one class": lambda problem: problem.failing[
        problem.repair_set.labels[problem.failing] == problem.repair_set.labels[problem.failing].mode().values
    ],
}


@every_row
@pytest.mark.parametrize("edge", EDGES)
def test_few_failing_inputs_are_no_crash(row: Row, edge: str) -> None:
    problem = digits_problem()
    result = finished(approach(row.method, *row.settings), dataclasses.replace(problem, failing=EDGES[edge](problem)))
    assert result.outcome in ("repaired", "failure"), result.reason
    assert result.outcome == "repaired" or result.reason
