"""The contract of a safeguard, checked for every one of conf/safeguard."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pydantic import ValidationError
from torch import nn

from study.api.exporting import export
from study.errors import NotApplicable
from study.problem.prediction import predict
from study.safeguards.base import Safeguard, Unguarded
from study.storage.models import load_model, save_model, weights_hash
from study.storage.paths import conf_folder
from tests.problems import build, digits_problem, digits_splits
from tests.safeguards.models import spoilt

FILES = sorted((conf_folder() / "safeguard").glob("*.yaml"))
OF_WEIGHTS = ("interpolation", "uncertainty_dropout")
"""Those that need the faulty network with other weights."""
every_safeguard = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def made(path: Path) -> Safeguard:
    """The safeguard of a configuration."""
    safeguard = instantiate(OmegaConf.load(path))
    assert isinstance(safeguard, Safeguard)
    return safeguard


def of_another_architecture() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(batch_norm=True).eval()


@every_safeguard
@pytest.mark.parametrize("other", [False, True], ids=["same architecture", "another"])
def test_the_result_is_one_model_that_can_be_stored(path: Path, other: bool, tmp_path: Path) -> None:
    problem, inputs = digits_problem(), digits_splits()["test"].tensors().inputs
    repaired = of_another_architecture() if other else spoilt(problem, 0.1)
    hashes = weights_hash(problem.faulty), weights_hash(repaired)
    if other and path.stem in OF_WEIGHTS:
        with pytest.raises(NotApplicable, match=f"{path.stem} needs a repair of weights alone"):
            made(path).guard(problem, repaired)
        return
    guarded = made(path).guard(problem, repaired)
    assert not any(module.training for module in guarded.modules())
    assert (weights_hash(problem.faulty), weights_hash(repaired)) == hashes
    old = {tensor.data_ptr() for tensor in problem.faulty.state_dict().values()}
    assert old.isdisjoint(tensor.data_ptr() for tensor in guarded.state_dict().values())
    save_model(guarded, tmp_path)
    logits = guarded(inputs)
    assert logits.shape == (len(inputs), 10) and bool(logits.isfinite().all())
    assert load_model(tmp_path)(inputs).equal(logits)


@every_safeguard
def test_it_is_the_same_each_time(path: Path) -> None:
    problem, inputs = digits_problem(), digits_splits()["test"].tensors().inputs
    first, second = (made(path).guard(problem, spoilt(problem, 0.1)) for _ in range(2))
    assert weights_hash(first) == weights_hash(second) and first(inputs).equal(second(inputs))


@every_safeguard
def test_it_can_be_exported(path: Path, tmp_path: Path) -> None:
    problem, inputs = digits_problem(), digits_splits()["test"].tensors().inputs
    guarded = made(path).guard(problem, spoilt(problem, 0.1))
    program = torch.export.load(export(guarded, tmp_path / "net.pt2", inputs[:2])).module()
    assert program(inputs[:7]).allclose(guarded(inputs[:7]), atol=1e-5)


@every_safeguard
def test_the_faulty_model_guarded_by_itself_gives_its_own_answers(path: Path) -> None:
    if path.stem in ("uncertainty_perturbation", "uncertainty_dropout"):
        pytest.skip("its answers are means over noise")
    problem = digits_problem()
    guarded = made(path).guard(problem, problem.copy())
    before = predict(problem.faulty, problem.validation)
    assert predict(guarded, problem.validation).argmax(1).equal(before.argmax(1))


@every_safeguard
def test_it_can_be_put_around_models_of_images(path: Path) -> None:
    made(path).check(digits_problem().task)


@every_safeguard
def test_it_is_a_frozen_value(path: Path) -> None:
    safeguard = made(path)
    assert safeguard == made(path) and hash(safeguard) == hash(made(path))
    with pytest.raises(dataclasses.FrozenInstanceError):
        safeguard.limit = 1  # type: ignore[attr-defined]
    with pytest.raises(ValidationError, match="nexpected keyword argument"):
        type(safeguard)(limit=1)  # type: ignore[call-arg]


def test_unguarded_is_the_repaired_model_itself() -> None:
    repaired = build()
    assert Unguarded().guard(digits_problem(), repaired) is repaired
