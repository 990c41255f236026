from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from study.data.split import Split
from study.errors import NotApplicable, RepairFailed
from study.methods.model_level import fsgmix
from study.methods.model_level.finetune import Finetune
from study.methods.model_level.fsgmix import FSGMix, Guides, Sampled, at_most_per_class, unguided_left_out
from study.parts.augmentation.augmix import apply_chains, draw_chains, draw_mix, mix, to_float, to_uint8
from study.parts.training.schedule import PEAK
from study.problem.prediction import accuracy, right
from study.problem.problem import Problem
from study.repair.run import Repair, repair
from study.runtime.fit import Curves, fit
from tests.networks import TinyNet
from tests.problems import HARDWARE, build, digits_problem, digits_splits, problem_of, same, with_passing_spoilt

GUIDES = ["chain", "operator", "raw", "none"]


@pytest.fixture
def problem() -> Problem:
    return digits_problem()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run(problem: Problem, **options: Any) -> Repair:
    return repair(FSGMix(**({"epochs": 2, "train_fraction": 0.5, "tol": 0.02} | options)), problem, HARDWARE)


def begun(problem: Problem, **options: Any) -> FSGMix:
    approach = FSGMix(**options)
    approach.begin(problem)
    return approach


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
    approach = FSGMix(epochs=0)
    approach.begin(problem)
    fit(approach, HARDWARE, loader=approach.batches(), curves=Curves(), epochs=approach.epochs)
    assert same(approach.repaired(), problem.faulty)


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
    monkeypatch.setattr(fsgmix, "draw_mix", partial(all_on_the_guide, share=share))
    approach = begun(problem, guide="raw")
    labels = problem.repair_set.labels[problem.failing]
    images = problem.train.tensors().inputs[: len(labels)]
    mixed = approach.mixed(images, labels, torch.full_like(labels, -1))
    if share == 0:
        assert torch.equal(mixed, images)
        return
    distances = torch.cdist(mixed.flatten(1), approach.failing.tensors().inputs.flatten(1), p=math.inf)
    assert distances.amin(dim=1).max() == 0
    assert torch.equal(approach.failing.labels[distances.argmin(dim=1)], labels)


def test_weights_are_convex_and_the_guide_has_none_where_there_is_none() -> None:
    weights, m = draw_mix(10_000, 4, generator())
    guided = torch.arange(10_000) % 2 == 0
    left = unguided_left_out(weights, guided)
    torch.testing.assert_close(left[:, guided], weights[:, guided])
    assert not left[-1, ~guided].any() and (left >= 0).all()
    torch.testing.assert_close((1 - m) + m * left.sum(dim=0), torch.ones(10_000), atol=1e-6, rtol=0)
    # Dirichlet(1, 1, 1): variance (1/3)(2/3)/4.
    assert left[0, ~guided].var().item() == pytest.approx(1 / 18, abs=0.003)


def test_a_guide_has_the_class_of_its_image_and_is_another_image() -> None:
    labels = torch.tensor([3, 0, 3, 0, 3, 1])
    guides = Guides.of(Split("failing", torch.zeros(6, 1, 2, 2), labels), 5, same_class=True)
    asked = torch.tensor([3, 0, 1, 2, 4]).repeat(400)
    places, guided = guides.draw(asked, torch.full((2000,), -1), generator())
    assert torch.equal(guided, (asked != 2) & (asked != 4))
    assert torch.equal(labels[places[guided]], asked[guided])
    assert set(places[asked == 3].tolist()) == {0, 2, 4}
    members = torch.arange(6).repeat(300)
    places, guided = guides.draw(labels[members], members, generator())
    assert guided.all() and torch.equal(labels[places], labels[members])
    assert set(places[members == 2].tolist()) == {0, 4} and set(places[members == 4].tolist()) == {0, 2}
    assert set(places[members == 5].tolist()) == {5}  # alone in its class


def test_a_guide_of_any_class_is_any_other_failing_input() -> None:
    labels = torch.tensor([3, 0, 3])
    guides = Guides.of(Split("failing", torch.zeros(3, 1, 2, 2), labels), 5, same_class=False)
    members = torch.tensor([-1, 0, 1, 2]).repeat(200)
    places, guided = guides.draw(torch.full((800,), 4), members, generator())
    assert guided.all()
    assert [set(places[members == m].tolist()) for m in (-1, 0, 1, 2)] == [{0, 1, 2}, {1, 2}, {0, 2}, {0, 1}]


@pytest.mark.parametrize("guide", ["chain", "operator", "raw"])
def test_a_class_without_failures_is_mixed_with_nothing_foreign(problem: Problem, guide: str) -> None:
    few = problem.failing[problem.repair_set.labels[problem.failing] == problem.repair_set.labels[problem.failing[0]]]
    approach = begun(whitened(problem, failing=few), guide=guide)
    label = int(problem.repair_set.labels[few[0]])
    black = torch.zeros(50, 1, 8, 8)
    nobody = torch.full((50,), -1)
    assert not approach.mixed(black, torch.full((50,), (label + 1) % 10), nobody).any()
    assert approach.mixed(black, torch.full((50,), label), nobody).any()


def test_the_guide_has_an_eighth_of_a_mix_on_average(problem: Problem) -> None:
    approach = begun(whitened(problem), guide="raw", guide_class="any")
    nobody = torch.full((10_000,), -1)
    mixed = approach.mixed(torch.zeros(10_000, 1, 8, 8), torch.zeros_like(nobody), nobody)
    assert mixed.mean().item() == pytest.approx(1 / 8, abs=0.01)


def test_without_guide_a_mix_is_augmix(problem: Problem) -> None:
    images, labels = problem.train.tensors()[:2]
    random = problem.stream("mixes")
    chains = to_float(apply_chains(to_uint8(images).repeat(3, 1, 1, 1), draw_chains(3 * len(images), random)))
    expected = mix(images, chains.view(3, *images.shape), *draw_mix(len(images), 3, random))
    mixed = begun(problem, guide="none").mixed(images, labels, torch.full_like(labels, -1))
    assert torch.equal(mixed, expected)


@pytest.mark.parametrize("augmentation", ["none", "crop_flip"])
def test_without_consistency_and_failing_inputs_it_is_continued_training(
    problem: Problem, augmentation: Literal["none", "crop_flip"]
) -> None:
    recipe = dataclasses.replace(problem.recipe, augmentation=augmentation)
    problem = dataclasses.replace(problem, recipe=recipe)
    plain = repair(Finetune(data="train", epochs=1), problem, HARDWARE)
    result = run(problem, jsd_weight=0, add_failing=False, train_fraction=1, epochs=1, tol=1)
    assert same(result.model, plain.model) and not same(result.model, problem.faulty)


def test_a_guide_is_transformed_by_draws_of_its_own(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsgmix, "draw_mix", all_on_the_guide)
    recipe = dataclasses.replace(problem.recipe, augmentation="crop")
    approach = begun(dataclasses.replace(whitened(problem), recipe=recipe), guide="raw", guide_class="any")
    labels = torch.zeros(400, dtype=torch.int64)
    mixed = approach.mixed(torch.zeros(400, 1, 8, 8), labels, labels - 1)
    visible = mixed.flatten(1).mean(dim=1)  # an 8x8 image moved by up to a pixel either way, with black behind it
    assert set(visible.tolist()) == {1.0, 7 / 8, 49 / 64}


def test_an_epoch_is_a_share_of_the_training_set_and_every_failing_input() -> None:
    split = Split("train", torch.arange(110.0)[:, None], torch.zeros(110, dtype=torch.int64))
    loader = Sampled(split, 16, generator(), train=100, fraction=0.25)
    epochs = [torch.cat([batch.indices for batch in loader]) for _ in range(40)]
    assert len(loader) == 3 and all(len(epoch) == len(epoch.unique()) == 35 for epoch in epochs)
    assert all((epoch >= 100).sum() == 10 for epoch in epochs)
    assert len(torch.cat(epochs).unique()) == 110
    assert 0 < sum(bool(epoch[0] >= 100) for epoch in epochs) < 40  # shuffled: neither part comes first


def test_a_single_item_left_over_joins_the_batch_before() -> None:
    split = Split("train", torch.arange(110.0)[:, None], torch.zeros(110, dtype=torch.int64))
    loader = Sampled(split, 17, generator(), train=100, fraction=0.25)
    assert [len(batch.labels) for batch in loader] == [17, 18] and len(loader) == 2


def test_shots_limit_the_failing_inputs_of_a_class() -> None:
    labels = torch.tensor([1, 1, 0, 1, 2, 2, 1])
    few = at_most_per_class(labels, 2, generator())
    assert torch.equal(few, few.sort().values)
    assert torch.bincount(labels[few]).tolist() == [1, 2, 2]
    assert at_most_per_class(labels, 0, generator()).tolist() == list(range(7))
    assert len({tuple(at_most_per_class(labels, 2, generator(seed)).tolist()) for seed in range(20)}) > 3


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


def ended_epochs(problem: Problem, tol: float, *epochs: dict[str, Tensor]) -> FSGMix:
    """The approach after epochs that ended with these weights."""
    approach = begun(problem, tol=tol)
    for state in epochs:
        approach.model.load_state_dict(state)
        approach.on_train_epoch_end()
    return approach


def test_the_epoch_with_most_failing_inputs_repaired_is_kept_among_those_that_hold_accuracy(problem: Problem) -> None:
    failing = problem.repair_set.labels[problem.failing]
    most = int(torch.bincount(failing).argmax())
    faulty, biased = problem.faulty.state_dict(), constant(problem, most)
    kept = ended_epochs(problem, 1.0, faulty, biased, faulty).repaired()
    assert int(right(kept, problem.repair_set.subset(problem.failing)).sum()) == int((failing == most).sum())
    assert same(ended_epochs(problem, 0.001, biased, faulty, biased).repaired(), problem.faulty)
    with pytest.raises(RepairFailed, match="validation accuracy"):
        ended_epochs(problem, 0.001, biased).repaired()


def test_training_that_ruins_the_model_is_no_repair(problem: Problem) -> None:
    result = run(problem, lr=10.0, tol=0.0)
    assert result.outcome == "failure" and "every epoch falls below" in result.reason


def test_it_stops_when_the_validation_loss_has_not_improved_for_some_epochs(problem: Problem) -> None:
    still = {"lr": 1e-30, "epochs": 9, "jsd_weight": 0}
    assert run(problem, **still, patience=3).costs["steps"] == 4 / 9 * run(problem, **still).costs["steps"]


def test_the_optimizer_follows_from_the_recipe_unless_it_is_set(problem: Problem) -> None:
    by_sgd = dataclasses.replace(problem, recipe=dataclasses.replace(problem.recipe, optimizer="sgd", lr=0.3))
    adam = begun(problem).configure_optimizers()["optimizer"]
    assert isinstance(adam, torch.optim.Adam) and adam.param_groups[0]["initial_lr"] == PEAK
    assert begun(problem, lr=0.5).configure_optimizers()["optimizer"].param_groups[0]["initial_lr"] == 0.5
    sgd = begun(by_sgd, weight_decay=0.1).configure_optimizers()["optimizer"].param_groups[0]
    assert (sgd["initial_lr"], sgd["nesterov"], sgd["weight_decay"]) == (0.01, True, 0.1)
    assert isinstance(begun(by_sgd, optimizer="adam").configure_optimizers()["optimizer"], torch.optim.Adam)
