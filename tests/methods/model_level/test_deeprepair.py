from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Batch, Chained, Split
from study.errors import NotApplicable
from study.methods.model_level import deeprepair
from study.methods.model_level.deeprepair import DeepRepair, StyledViews
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
from study.parts.augmentation.styled_copies import StyledCopies
from study.parts.training import mixed_training
from study.parts.training.consistency import consistency_loss
from study.parts.training.mixed_training import MixedTraining
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.repairs.run import RepairResult
from tests.fitting import finished
from tests.networks import TinyNet
from tests.problems import build, digits_problem, digits_splits, problem_of, same, with_passing_spoilt

GENTLE = {"epochs": 6, "severity": 1.0, "batch_size": 16}


@pytest.fixture
def problem() -> Problem:
    return digits_problem()


def begun(problem: Problem, **options: Any) -> MixedTraining:
    """The training that a repair yields, not yet fitted."""
    training = next(DeepRepair(**options).repair(problem))
    assert isinstance(training, MixedTraining)
    return training


def views_of(training: MixedTraining) -> StyledViews:
    assert isinstance(training.views, StyledViews)
    return training.views


def copies_of(problem: Problem, **options: Any) -> StyledCopies:
    copies = views_of(begun(problem, **options)).copies
    assert copies is not None
    return copies


def run(problem: Problem, **options: Any) -> RepairResult:
    return finished(DeepRepair(**(GENTLE | options)), problem)


def batch_of(problem: Problem, count: int = 200) -> Batch:
    return problem.train.fetch(torch.arange(count))


@pytest.mark.parametrize("operator", ["haar_wct", "none"])
def test_it_repairs_failing_inputs(problem: Problem, operator: str) -> None:
    result = run(problem, operator=operator)
    assert result.outcome == "repaired"
    assert result.costs["repair_set_fixed"] > 0.1
    assert result.costs["references"] == (0 if operator == "none" else len(copies_of(problem).references))
    assert set(result.curves) == {"validation/accuracy", "validation/loss", "repair/fixed"}


def test_it_trains_a_convolution_and_its_batch_norm() -> None:
    torch.manual_seed(0)
    tiny = problem_of(build(TinyNet), digits_splits())
    result = run(tiny, epochs=1)
    assert result.outcome == "repaired" and result.model is not None
    name = "net.features.1.running_mean"
    assert not torch.equal(result.model.state_dict()[name], tiny.faulty.state_dict()[name])


def test_no_epoch_leaves_the_model_as_it_is(problem: Problem) -> None:
    result = run(problem, epochs=0)
    assert result.outcome == "failure" and not result.changed


def test_references_are_failing_inputs_up_to_five_a_class(problem: Problem) -> None:
    references = copies_of(problem).references
    labels = problem.repair_set.labels[problem.failing]
    counts = torch.bincount(labels, minlength=10).clamp(max=5)
    assert torch.equal(torch.bincount(references.labels, minlength=10), counts)
    failing = problem.repair_set.tensors().inputs[problem.failing].flatten(1)
    assert torch.cdist(references.tensors().inputs.flatten(1), failing).amin(1).max() == 0


def test_every_training_image_has_a_copy_in_the_style_of_a_reference_of_any_class(problem: Problem) -> None:
    copies = copies_of(problem)
    assert copies.stored is not None and copies.stored.dtype == torch.uint8
    assert copies.stored.shape == problem.train.tensors().inputs.shape
    assert set(copies.choice.tolist()) == set(range(len(copies.references)))
    assert (copies.references.labels[copies.choice] != problem.train.labels).float().mean() > 0.5
    again = copies_of(problem)
    assert again.stored is not None and torch.equal(copies.stored, again.stored)
    other = copies_of(dataclasses.replace(problem, seed=1))
    assert other.stored is not None and not torch.equal(copies.stored, other.stored)
    own = copies_of(problem, alpha=0)
    assert own.stored is not None and torch.equal(own.stored, to_uint8(problem.train.tensors().inputs))


def test_copies_of_images_in_files_are_made_when_they_are_read(problem: Problem) -> None:
    inputs = Chained([problem.train.tensors().inputs])
    lazy = copies_of(dataclasses.replace(problem, train=Split("train", inputs, problem.train.labels)))
    assert lazy.stored is None
    batch = batch_of(problem)
    assert (lazy(batch) - copies_of(problem)(batch)).abs().max() <= 1 / 255 + 1e-6


def test_no_failing_input_enters_the_cross_entropy(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def watched(model: nn.Module, clean: Tensor, views: Tensor, labels: Tensor, weight: float) -> Tensor:
        seen.append((clean, labels))
        return consistency_loss(model, clean, views, labels, weight)

    monkeypatch.setattr(mixed_training, "consistency_loss", watched)
    run(problem, epochs=1)
    clean, labels = torch.cat([each for each, _ in seen]), torch.cat([each for _, each in seen])
    train = problem.train.tensors()
    assert len(clean) == len(train.labels)
    nearest = torch.cdist(clean.flatten(1), train.inputs.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    assert nearest.amin(1).max() == 0
    assert torch.equal(labels.sort().values, train.labels.sort().values)


def test_no_passing_repair_input_is_read(problem: Problem) -> None:
    assert same(run(with_passing_spoilt(problem), epochs=1).model, run(problem, epochs=1).model)


def test_without_style_views_are_those_of_augmix(problem: Problem) -> None:
    batch, random = batch_of(problem), problem.stream("mixes")
    both = batch.inputs.repeat(2, 1, 1, 1)
    chains = to_float(apply_chains(to_uint8(both).repeat(3, 1, 1, 1), draw_chains(3 * len(both), random)))
    expected = mix(both, chains.view(3, *both.shape), *draw_mix(len(both), 3, random))
    assert torch.equal(views_of(begun(problem, operator="none"))(batch, batch.inputs, nn.Identity()), expected)


def only_style(views: StyledViews) -> StyledViews:
    return dataclasses.replace(views, mixing=dataclasses.replace(views.mixing, operators=(REPLACE,)))


def test_a_chain_starts_from_a_copy_only_with_style(problem: Problem) -> None:
    assert views_of(begun(problem)).mixing.operators == (*OPERATORS, REPLACE)
    plain = views_of(begun(problem, operator="none"))
    assert plain.copies is None and plain.mixing.operators == OPERATORS
    unmoved = dataclasses.replace(problem, task=dataclasses.replace(problem.task, affine_invariant=False))
    assert views_of(begun(unmoved)).mixing.operators == (*PIXEL, REPLACE)


def test_with_style_alone_a_view_lies_between_the_image_and_its_copy(problem: Problem) -> None:
    make_views = only_style(views_of(begun(problem)))
    clean = to_float(to_uint8(batch_of(problem).inputs))
    assert make_views.copies is not None
    styled = make_views.copies(batch_of(problem))
    views = make_views(batch_of(problem), clean, nn.Identity()).view(2, *clean.shape)
    for view in views:
        way, whole = (view - clean).flatten(1), (styled - clean).flatten(1)
        share = (way * whole).sum(1) / whole.square().sum(1).clamp(min=1e-12)
        assert share.min() >= -1e-5 and share.max() <= 1 + 1e-5 and share.std() > 0.2
        torch.testing.assert_close(way, share[:, None] * whole, atol=1e-5, rtol=0)
    assert not torch.equal(views[0], views[1])


def test_an_image_and_its_copy_are_cropped_alike(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(problem.recipe, augmentation="crop_flip")
    training = begun(dataclasses.replace(problem, recipe=recipe))
    batch = batch_of(problem)
    grey = batch._replace(inputs=to_float(to_uint8(batch.inputs)))
    training.views = dataclasses.replace(only_style(views_of(training)), copies=lambda batch: batch.inputs)
    seen: list[Tensor] = []
    monkeypatch.setattr(
        mixed_training, "consistency_loss", lambda model, clean, views, *_: seen.extend([clean, *views.chunk(2)])
    )
    training.loss(grey)
    clean, first, second = seen
    assert not torch.equal(clean, grey.inputs)
    torch.testing.assert_close(first, clean, atol=1e-5, rtol=0)
    torch.testing.assert_close(second, clean, atol=1e-5, rtol=0)


def test_views_cost_nothing_where_they_agree_and_at_most_log_three(problem: Problem) -> None:
    training = begun(problem, jsd_weight=1)
    batch = batch_of(problem)
    plain = begun(problem, jsd_weight=0).loss(batch)
    torch.testing.assert_close(plain, nn.functional.cross_entropy(training.model(batch.inputs), batch.labels))
    equal = consistency_loss(training.model, batch.inputs, batch.inputs.repeat(2, 1, 1, 1), batch.labels, 1)
    torch.testing.assert_close(equal, plain)
    assert 0 < training.loss(batch) - plain <= math.log(3)


def test_an_epoch_is_the_same_share_of_the_training_set(problem: Problem) -> None:
    training = begun(problem, train_fraction=0.25)
    copies = views_of(training).copies
    assert copies is not None and len(copies.split) == 200 and copies.stored is not None and len(copies.stored) == 200
    epochs = [torch.cat([batch.indices for batch in training.batches]) for _ in range(2)]
    assert len(epochs[0].unique()) == 200 and not torch.equal(*epochs)


def test_the_epoch_with_the_best_validation_accuracy_is_kept_ties_by_failing_inputs(problem: Problem) -> None:
    training, random = begun(problem), problem.stream("mixes")
    scores, rights = [], []
    for _ in range(12):
        with torch.no_grad():
            for parameter in training.model.parameters():
                parameter.mul_(1 + 0.1 * torch.rand(parameter.shape, generator=random))
        scores.append(training.score())
        logits = predict(training.model, problem.validation)
        rights.append(int((logits.argmax(1) == problem.validation.labels).sum()))
    best = max(range(12), key=scores.__getitem__)
    assert rights[best] == max(rights)
    assert all(0 <= score * 197 - right <= 0.5 + 1e-9 for score, right in zip(scores, rights, strict=True))


def test_it_stops_when_the_validation_loss_has_not_improved_for_some_epochs(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deeprepair, "cosine_sgd", lambda parameters, *_: torch.optim.SGD(parameters, 0.0))
    still = {"epochs": 9, "jsd_weight": 0}
    assert run(problem, **still, patience=3).costs["steps"] == 4 / 9 * run(problem, **still).costs["steps"]


def test_what_it_cannot_work_on_is_said(problem: Problem) -> None:
    DeepRepair().check(problem.task)
    for options, changes, reason in (
        ({}, {"kind": "table"}, "needs images: the inputs are table"),
        ({}, {"input_shape": (4, 8, 8)}, "1 or 3 channels: these have 4"),
        ({"levels": 4}, {}, "at least 16 pixels"),
    ):
        with pytest.raises(NotApplicable, match=reason):
            DeepRepair(**options).check(dataclasses.replace(problem.task, **changes))


def test_one_failing_input_all_of_one_class_identical_images_and_a_large_batch(problem: Problem) -> None:
    first = dataclasses.replace(problem, failing=problem.failing[:1])
    assert len(copies_of(first).references) == 1
    labels = problem.repair_set.labels[problem.failing]
    one_class = dataclasses.replace(problem, failing=problem.failing[labels == labels.mode().values])
    assert run(one_class, epochs=1).outcome in ("repaired", "failure")
    inputs = problem.repair_set.tensors().inputs.clone()
    inputs[problem.failing] = inputs[problem.failing[0]].clone()
    identical = dataclasses.replace(problem, repair_set=Split("repair", inputs, problem.repair_set.labels))
    assert len(copies_of(identical).references) == len(labels.unique())
    assert run(problem, batch_size=100_000, epochs=2).costs["steps"] == 2


def test_it_repeats_under_a_seed(problem: Problem) -> None:
    first = run(problem, epochs=1).model
    assert same(first, run(problem, epochs=1).model)
    assert not same(first, run(dataclasses.replace(problem, seed=1), epochs=1).model)


def test_pictures_show_references_and_copies(problem: Problem) -> None:
    pictures = run(problem, epochs=1).pictures
    assert set(pictures) == {"references", "copies"}
    (axes,) = pictures["copies"].axes
    captions = [label.get_text() for label in axes.get_yticklabels()]
    assert captions == ["training image", "its reference", "styled copy", "mixed view"]
    assert run(problem, operator="none", epochs=1).pictures == {}
