from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable, RepairFailed
from study.methods.model_level.finetune import Finetune
from study.methods.model_level.fsgmix import FSGMix, GuidedViews
from study.parts.augmentation import guided_mix
from study.parts.augmentation.augmix import (
    OPERATORS,
    PIXEL,
    REPLACE,
    apply_chains,
    draw_chains,
    draw_mix,
    mix,
    to_float,
    to_uint8,
)
from study.parts.selection.guides import Guides
from study.parts.training.mixed_training import MixedTraining
from study.parts.training.schedule import PEAK
from study.problem.prediction import accuracy, right
from study.problem.problem import Problem
from study.repairs.approach import Repair
from study.repairs.run import RepairResult
from tests.fitting import finished, fitted
from tests.networks import TinyNet
from tests.problems import build, digits_problem, digits_splits, problem_of, same, with_passing_spoilt

GUIDES = ["chain", "operator", "raw", "none"]


@pytest.fixture
def problem() -> Problem:
    return digits_problem()


def run(problem: Problem, **options: Any) -> RepairResult:
    return finished(FSGMix(**({"epochs": 2, "train_fraction": 0.5, "tol": 0.02} | options)), problem)


def begun(problem: Problem, **options: Any) -> tuple[Repair, MixedTraining]:
    """A repair and the training that it yields, not yet fitted."""
    repair = FSGMix(**options).repair(problem)
    training = next(repair)
    assert isinstance(training, MixedTraining)
    return repair, training


def ended(repair: Repair) -> nn.Module:
    """The model that a repair returns once its training has been fitted."""
    with pytest.raises(StopIteration) as end:
        next(repair)
    model = end.value.value.model
    assert isinstance(model, nn.Module)
    return model


def views_of(problem: Problem, **options: Any) -> GuidedViews:
    _, training = begun(problem, **options)
    assert isinstance(training.views, GuidedViews)
    return training.views


def optimizer_of(problem: Problem, **options: Any) -> torch.optim.Optimizer:
    _, training = begun(problem, **options)
    optimizer = training.configure_optimizers()["optimizer"]
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer


def whitened(problem: Problem, **changes: Any) -> Problem:
    """The problem with white repair inputs, which tell a guide from a black image: operators leave black as it is."""
    white = torch.ones_like(problem.repair_set.tensors().inputs)
    return dataclasses.replace(problem, repair_set=Split("repair", white, problem.repair_set.labels), **changes)


def all_on_the_guide(count: int, width: int, _: torch.Generator, share: float = 1.0) -> tuple[Tensor, Tensor]:
    """In place of `draw_mix`: of the chains the guide alone, with this share of the mix."""
    weights = torch.zeros(width, count)
    weights[-1] = 1
    return weights, torch.full((count,), share)


@pytest.mark.parametrize("guide", GUIDES)
def test_it_repairs_failing_inputs_within_the_validation_bound(problem: Problem, guide: str) -> None:
    result = run(problem, guide=guide, epochs=4)
    assert result.outcome == "repaired" and result.model is not None
    assert result.costs["repair_set_fixed"] > 0.2
    bound = accuracy(problem.faulty, problem.validation) - 0.02
    assert accuracy(result.model, problem.validation) >= bound


@pytest.mark.parametrize("guide", GUIDES)
def test_it_trains_a_convolution_and_its_batch_norm(guide: str) -> None:
    torch.manual_seed(0)
    tiny = problem_of(build(TinyNet), digits_splits())
    result = run(tiny, guide=guide)
    assert result.outcome == "repaired" and result.model is not None
    name = "net.features.1.running_mean"
    assert not torch.equal(result.model.state_dict()[name], tiny.faulty.state_dict()[name])


def test_no_epoch_leaves_the_model_as_it_is(problem: Problem) -> None:
    repair, training = begun(problem, epochs=0)
    fitted(training)
    assert training.steps_taken == 0 and same(ended(repair), problem.faulty)


def test_without_failing_inputs_it_fails_before_any_training(problem: Problem) -> None:
    result = run(dataclasses.replace(problem, failing=problem.failing[:0]))
    assert (result.outcome, result.costs) == ("failure", {})


def test_inputs_that_are_no_images_are_refused(problem: Problem) -> None:
    with pytest.raises(NotApplicable, match="needs images"):
        FSGMix().check(dataclasses.replace(problem.task, kind="tokens"))
    FSGMix().check(problem.task)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_mix_runs_from_the_image_to_its_guide(
    problem: Problem, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guided_mix, "draw_mix", partial(all_on_the_guide, share=share))
    views = views_of(problem, guide="raw")
    labels = problem.repair_set.labels[problem.failing]
    images = problem.train.tensors().inputs[: len(labels)]
    mixed = views.mixed(images, labels, torch.full_like(labels, -1))
    if share == 0:
        assert torch.equal(mixed, images)
        return
    failing = problem.repair_set.subset(problem.failing)
    distances = torch.cdist(mixed.flatten(1), failing.tensors().inputs.flatten(1), p=math.inf)
    assert distances.amin(dim=1).max() == 0
    assert torch.equal(failing.labels[distances.argmin(dim=1)], labels)


@pytest.mark.parametrize("guide", ["chain", "operator", "raw"])
def test_a_class_without_failures_is_mixed_with_nothing_foreign(problem: Problem, guide: str) -> None:
    few = problem.failing[problem.repair_set.labels[problem.failing] == problem.repair_set.labels[problem.failing[0]]]
    views = views_of(whitened(problem, failing=few), guide=guide)
    label = int(problem.repair_set.labels[few[0]])
    black = torch.zeros(50, 1, 8, 8)
    nobody = torch.full((50,), -1)
    assert not views.mixed(black, torch.full((50,), (label + 1) % 10), nobody).any()
    assert views.mixed(black, torch.full((50,), label), nobody).any()


def test_the_guide_has_an_eighth_of_a_mix_on_average(problem: Problem) -> None:
    views = views_of(whitened(problem), guide="raw", guide_class="any")
    nobody = torch.full((10_000,), -1)
    mixed = views.mixed(torch.zeros(10_000, 1, 8, 8), torch.zeros_like(nobody), nobody)
    assert mixed.mean().item() == pytest.approx(1 / 8, abs=0.01)


def test_without_guide_a_mix_is_augmix(problem: Problem) -> None:
    images, labels = problem.train.tensors()[:2]
    random = problem.stream("mixes")
    chains = to_float(apply_chains(to_uint8(images).repeat(3, 1, 1, 1), draw_chains(3 * len(images), random)))
    expected = mix(images, chains.view(3, *images.shape), *draw_mix(len(images), 3, random))
    mixed = views_of(problem, guide="none").mixed(images, labels, torch.full_like(labels, -1))
    assert torch.equal(mixed, expected)


@pytest.mark.parametrize("augmentation", ["none", "crop_flip"])
def test_without_consistency_and_failing_inputs_it_is_continued_training(
    problem: Problem, augmentation: Literal["none", "crop_flip"]
) -> None:
    recipe = dataclasses.replace(problem.recipe, augmentation=augmentation)
    problem = dataclasses.replace(problem, recipe=recipe)
    plain = finished(Finetune(data="train", epochs=1), problem)
    result = run(problem, jsd_weight=0, add_failing=False, train_fraction=1, epochs=1, tol=1)
    assert same(result.model, plain.model) and not same(result.model, problem.faulty)


def test_a_guide_is_transformed_by_draws_of_its_own(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guided_mix, "draw_mix", all_on_the_guide)
    recipe = dataclasses.replace(problem.recipe, augmentation="crop")
    views = views_of(dataclasses.replace(whitened(problem), recipe=recipe), guide="raw", guide_class="any")
    labels = torch.zeros(400, dtype=torch.int64)
    mixed = views.mixed(torch.zeros(400, 1, 8, 8), labels, labels - 1)
    visible = mixed.flatten(1).mean(dim=1)  # an 8x8 image moved by up to a pixel either way, with black behind it
    assert set(visible.tolist()) == {1.0, 7 / 8, 49 / 64}


def test_no_passing_repair_input_is_read(problem: Problem) -> None:
    assert same(run(with_passing_spoilt(problem), tol=1).model, run(problem, tol=1).model)


def test_it_repeats_under_a_seed_and_leaves_the_global_state_alone(problem: Problem) -> None:
    before = torch.get_rng_state()
    first = run(problem, tol=1).model
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, run(problem, tol=1).model)
    assert not same(first, run(dataclasses.replace(problem, seed=1), tol=1).model)


def constant(problem: Problem, label: int) -> dict[str, Tensor]:
    """The faulty weights, changed so that every input is given `label`."""
    state = {name: tensor.clone() for name, tensor in problem.faulty.state_dict().items()}
    bias = [name for name in state if name.endswith("bias")][-1]
    state[bias][label] += 1e6
    return state


def kept_of(problem: Problem, tol: float, *epochs: dict[str, Tensor]) -> nn.Module:
    """What the repair returns after epochs that ended with these weights."""
    repair, training = begun(problem, tol=tol)
    for state in epochs:
        training.model.load_state_dict(state)
        training.on_train_epoch_end()
    training.on_fit_end()
    return ended(repair)


def test_the_epoch_with_most_failing_inputs_repaired_is_kept_among_those_that_hold_accuracy(problem: Problem) -> None:
    failing = problem.repair_set.labels[problem.failing]
    most = int(torch.bincount(failing).argmax())
    faulty, biased = problem.faulty.state_dict(), constant(problem, most)
    kept = kept_of(problem, 1.0, faulty, biased, faulty)
    assert int(right(kept, problem.repair_set.subset(problem.failing)).sum()) == int((failing == most).sum())
    assert same(kept_of(problem, 0.001, biased, faulty, biased), problem.faulty)
    with pytest.raises(RepairFailed, match="validation accuracy"):
        kept_of(problem, 0.001, biased)


def test_a_chain_starts_from_the_guide_only_where_this_is_an_operator(problem: Problem) -> None:
    operators = {guide: views_of(problem, guide=guide).mixing.operators for guide in GUIDES}
    assert operators == dict.fromkeys(GUIDES, OPERATORS) | {"operator": (*OPERATORS, REPLACE)}


def test_images_that_may_not_be_moved_are_not(problem: Problem) -> None:
    unmoved = dataclasses.replace(problem, task=dataclasses.replace(problem.task, affine_invariant=False))
    assert views_of(unmoved).mixing.operators == tuple(PIXEL)


def test_shots_limit_what_guides_and_what_joins_the_training_set(problem: Problem) -> None:
    _, training = begun(problem, shots=1)
    classes = len(problem.repair_set.labels[problem.failing].unique())
    assert len(training.failing) == len(training.failing.labels.unique()) == classes
    assert isinstance(training.views, GuidedViews) and training.views.guides.split is training.failing
    drawn = torch.cat([batch.indices for batch in training.batches])
    assert len(drawn) == len(problem.train) + classes


def test_training_that_ruins_the_model_is_no_repair(problem: Problem) -> None:
    result = run(problem, lr=10.0, tol=0.0)
    assert result.outcome == "failure" and "every epoch falls below" in result.reason


def test_it_stops_when_the_validation_loss_has_not_improved_for_some_epochs(problem: Problem) -> None:
    still = {"lr": 1e-30, "epochs": 9, "jsd_weight": 0}
    assert run(problem, **still, patience=3).costs["steps"] == 4 / 9 * run(problem, **still).costs["steps"]


def test_the_optimizer_follows_from_the_recipe_unless_it_is_set(problem: Problem) -> None:
    by_sgd = dataclasses.replace(problem, recipe=dataclasses.replace(problem.recipe, optimizer="sgd", lr=0.3))
    adam = optimizer_of(problem)
    assert isinstance(adam, torch.optim.Adam) and adam.param_groups[0]["initial_lr"] == PEAK
    assert optimizer_of(problem, lr=0.5).param_groups[0]["initial_lr"] == 0.5
    sgd = optimizer_of(by_sgd, weight_decay=0.1).param_groups[0]
    assert (sgd["initial_lr"], sgd["nesterov"], sgd["weight_decay"]) == (0.01, True, 0.1)
    assert isinstance(optimizer_of(by_sgd, optimizer="adam"), torch.optim.Adam)


def test_a_failing_input_is_known_among_its_guides(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training inputs are none of them; so that no failing input is its own guide (see `Guides.draw`)."""
    training: Any = next(FSGMix().repair(problem))
    members, draw = list[Tensor](), Guides.draw

    def watched(self: Guides, labels: Tensor, own: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        members.append(own)
        return draw(self, labels, own, generator)

    monkeypatch.setattr(Guides, "draw", watched)
    size = len(problem.train)
    batch = training.batches.split.fetch(torch.tensor([3, size, size + 4]))
    training.views(batch, batch.inputs, nn.Identity())
    assert members[0].tolist() == [3 - size, 0, 4] * 2
