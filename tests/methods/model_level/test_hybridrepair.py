from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.methods.model_level.hybridrepair import HybridRepair
from study.parts.selection.label_budget import NONE
from study.parts.selection.uncertainty import relative
from study.problem.faulty import Training
from study.problem.prediction import accuracy, predict, right
from study.problem.problem import Problem
from study.repair.run import Repair, repair
from study.runtime.fit import Curves, fit
from study.runtime.randomness import forked
from tests.problems import HARDWARE, RECIPE, build, digits_problem, digits_splits, problem_of

QUICK: dict[str, Any] = {"views": 2, "severity": 1.0, "warm_epochs": 1, "epochs": 2, "max_ssl_steps": 5}
LABELS = ["uncertain_clusters", "uncertain", "random"]


@pytest.fixture
def problem() -> Problem:
    return digits_problem()


def quick(**options: Any) -> HybridRepair:
    return HybridRepair(**(QUICK | options))


def run(problem: Problem, **options: Any) -> Repair:
    return repair(quick(**options), problem, HARDWARE)


def trained(problem: Problem, **options: Any) -> HybridRepair:
    """The approach after its training, without what the framework checks around it."""
    approach = quick(**options)
    approach.begin(problem)
    fit(approach, HARDWARE, loader=approach.batches(), curves=Curves())
    return approach


def same(one: nn.Module | None, other: nn.Module | None) -> bool:
    assert one is not None and other is not None
    second = other.state_dict()
    return all(torch.equal(tensor, second[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("ssl", [True, False])
def test_it_repairs(problem: Problem, labels: str, ssl: bool) -> None:
    result = run(problem, labels=labels, ssl=ssl, warm_epochs=4, epochs=6, lr=0.05)
    assert result.outcome == "repaired" and result.model is not None
    assert result.costs["repair_set_fixed"] > 0.1
    assert accuracy(result.model, problem.validation) > accuracy(problem.faulty, problem.validation) - 0.03


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(("percent", "most"), [(1, 4), (10, 40), (80, 320), (150, 400)])
def test_no_more_labels_are_read_than_the_budget_buys(problem: Problem, labels: str, percent: float, most: int) -> None:
    result = run(problem, labels=labels, budget_percent=percent, warm_epochs=0, epochs=1, max_ssl_steps=1)
    assert result.costs["labels"] == len(problem.pool.revealed) <= most
    assert result.costs["labels"] >= 0.9 * most


@pytest.mark.parametrize("labels", LABELS)
def test_neither_labels_that_are_not_bought_nor_which_inputs_fail_are_read(problem: Problem, labels: str) -> None:
    first = trained(problem, labels=labels)
    hidden = torch.ones(len(problem.repair_set), dtype=torch.bool)
    hidden[problem.pool.revealed] = False
    other = torch.where(hidden, 10**6, problem.repair_set.labels)
    repair_split = Split("repair", problem.repair_set.tensors().inputs, other)
    nobody = problem.failing[:0]
    blind = dataclasses.replace(problem, repair_set=repair_split, failing=nobody, passing=nobody)
    assert same(first.repaired(), trained(blind, labels=labels).repaired())
    assert not same(first.repaired(), problem.faulty)


def test_labels_are_handed_on_within_clusters_alone(problem: Problem) -> None:
    bought = {name: trained(problem, labels=name, warm_epochs=0, epochs=0)._selection.labelled for name in LABELS}
    assert len(bought["uncertain"]) == len(bought["random"]) == 40
    assert len(bought["uncertain_clusters"]) > 60


def test_the_selection_leaves_the_network_as_it_is() -> None:
    problem = digits_problem(batch_norm=True)
    approach = quick()
    approach.begin(problem)
    next(approach._generator)
    assert same(approach.model, problem.faulty)
    assert not any(module.training for module in approach.model.modules())


def test_no_epoch_leaves_the_weights_as_they_are() -> None:
    problem = digits_problem(batch_norm=True)
    approach = trained(problem, warm_epochs=0, epochs=0)
    assert same(approach.repaired(), problem.faulty)
    assert approach.costs()["steps"] == 0 and approach.costs()["labels"] > 0


def test_without_repair_epochs_it_is_the_warm_fine_tuning_whatever_was_bought(problem: Problem) -> None:
    warm = trained(problem, epochs=0).repaired()
    assert not same(warm, problem.faulty)
    assert same(warm, trained(problem, epochs=0, labels="random", budget_percent=50).repaired())


@pytest.mark.parametrize("select", ["validation", "entropy"])
def test_the_best_epoch_is_kept(problem: Problem, select: str) -> None:
    approach = quick(select=select, epochs=8, lr=0.3, warm_epochs=0)
    approach.begin(problem)
    next(approach._generator)
    scores, states = [], []
    for values in approach._generator:
        scores.append(float(values["validation/accuracy"] if select == "validation" else -values["pool/entropy"]))
        states.append({name: tensor.clone() for name, tensor in approach.model.state_dict().items()})
    best = scores.index(max(scores))
    assert best < len(scores) - 1  # so that to keep the last one is no answer
    assert all(torch.equal(tensor, states[best][name]) for name, tensor in approach.model.state_dict().items())


def test_only_trusted_or_labelled_inputs_are_drawn(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []
    targets = HybridRepair._targets

    def spied(self: HybridRepair, views: Tensor, places: Tensor) -> Tensor:
        drawn.append(places)
        found = targets(self, views, places)
        torch.testing.assert_close(found.sum(1), torch.ones(len(found)))
        label = self._selection.labels[places]
        assert torch.equal(found.argmax(1)[label != NONE], label[label != NONE])
        return found

    monkeypatch.setattr(HybridRepair, "_targets", spied)
    approach = trained(problem, epochs=4, max_ssl_steps=6)
    selection, places = approach._selection, torch.cat(drawn)
    assert len(places) == 4 * 6 * 64
    allowed = (selection.labels != NONE) | selection.trusted
    assert (~allowed).sum() > 0 and bool(allowed[places].all())
    assert bool((selection.labels[places] == NONE).any())


def test_trusted_inputs_are_those_up_to_tau(problem: Problem) -> None:
    approach = quick()
    approach.begin(problem)
    next(approach._generator)
    again = quick()
    again.begin(problem)
    again.model, again._pool = problem.copy(), approach._pool
    u = relative(again._entropy(again._pool))
    trusted = approach._selection.trusted
    assert u[trusted].max() < u[~trusted].min()
    assert right(problem.faulty, problem.repair_set)[trusted].double().mean() > 0.97


def test_without_self_training_it_takes_as_many_steps_on_the_labels(problem: Problem) -> None:
    with_it, without = run(problem), run(problem, ssl=False)
    assert with_it.costs["steps"] == without.costs["steps"]
    assert not same(with_it.model, without.model)


def test_an_epoch_without_labels_has_as_many_steps_as_the_larger_split(problem: Problem) -> None:
    approach = quick(max_ssl_steps=None)
    approach.begin(problem)
    approach._pool = problem.repair_set
    assert approach._steps_without_labels(torch.arange(800)) == 12
    assert approach._steps_without_labels(torch.arange(100)) == 6
    assert approach._steps_without_labels(torch.arange(3)) == 6


def test_training_items_that_the_network_gets_wrong_are_left_out(problem: Problem) -> None:
    correct = right(problem.faulty, problem.train).nonzero().flatten()
    approach = quick(train_subset="right")
    approach.begin(problem)
    approach.model = problem.copy()
    assert torch.equal(approach._learnt(), correct) and len(correct) < 800
    wrong = Split("train", problem.train.tensors().inputs, (predict(problem.faulty, problem.train).argmax(1) + 1) % 10)
    result = run(dataclasses.replace(problem, train=wrong), train_subset="right")
    assert result.outcome == "failure" and "no training input right" in result.reason


def test_momentum_is_kept_through_both_phases(problem: Problem) -> None:
    approach = quick(epochs=1)
    approach.begin(problem)
    next(approach._generator)
    next(approach._generator)
    optimizer = approach._optimizer
    weight = next(approach.model.parameters())
    buffer = optimizer.state[weight]["momentum_buffer"]
    assert bool(buffer.any())
    next(approach._generator)
    assert approach._optimizer is optimizer and optimizer.state[weight]["momentum_buffer"] is buffer


def test_bought_inputs_are_not_transformed_as_training_inputs_are(problem: Problem) -> None:
    problem = dataclasses.replace(problem, recipe=dataclasses.replace(problem.recipe, augmentation="crop"))
    approach = trained(problem)
    batch = approach._data.fetch(torch.arange(700, 850))
    changed = (approach._transformed(batch) != batch.inputs).flatten(1).any(1)
    assert changed[:100].double().mean() > 0.6 and not changed[100:].any()


def test_it_repeats_under_a_seed(problem: Problem) -> None:
    first, second = trained(problem), trained(problem)
    assert torch.equal(first._purchase.bought, second._purchase.bought)
    assert torch.equal(first._selection.labels, second._selection.labels)
    assert same(first.repaired(), second.repaired())
    other = trained(dataclasses.replace(problem, seed=1))
    assert not torch.equal(first._purchase.bought, other._purchase.bought)


def test_a_blob_that_training_has_not_seen_is_learnt_from_a_few_labels() -> None:
    blobs = {0: 0, 1: 1, 3: 0, 6: 1}  # two digits per class; 6, which looks like 0, is missing from the training set
    splits = {name: _relabelled(split, blobs) for name, split in digits_splits().items()}
    for name in ("train", "validation"):
        splits[name] = splits[name].subset((splits[name].groups != 6).nonzero().flatten())
    with forked(0, "init"):
        model = build(num_classes=2)
    training = Training(model, RECIPE, splits["train"], splits["validation"], 0)
    fit(training, HARDWARE, loader=splits["train"].batches(64, torch.Generator()), curves=Curves(), epochs=12)
    problem = problem_of(model, splits)
    problem = dataclasses.replace(problem, task=dataclasses.replace(problem.task, num_classes=2))
    missing = splits["test"].subset((splits["test"].groups == 6).nonzero().flatten())
    percent = 100 * 12.5 / len(problem.repair_set)
    result = run(problem, budget_percent=percent, average_cluster_size=1000, epochs=4, lr=0.05)
    assert result.costs["labels"] <= 12 and result.model is not None
    assert accuracy(problem.faulty, missing) < 0.5
    assert accuracy(result.model, missing) > 0.8
    assert accuracy(result.model, splits["test"]) > 0.9


def _relabelled(split: Split, classes: dict[int, int]) -> Split:
    """The items whose digit is a key, labelled with its value; their group is the digit."""
    kept = split.subset(torch.isin(split.labels, torch.tensor(list(classes))).nonzero().flatten())
    labels = torch.tensor([classes[int(digit)] for digit in kept.labels])
    return Split(split.name, kept.tensors().inputs, labels, kept.labels)


EDGES: dict[str, dict[str, Any]] = {
    "a batch larger than every split": {"batch_size": 5000},
    "all is noise": {"min_cluster_size": 390, "min_samples": 50},
    "more labels than inputs": {"budget_percent": 1000},
    "one view": {"views": 1},
}


@pytest.mark.parametrize("edge", EDGES)
def test_extreme_settings_are_no_crash(problem: Problem, edge: str) -> None:
    result = run(problem, lr=0.05, **EDGES[edge])
    assert result.outcome == "repaired", result.reason
    assert result.costs["steps"] > 0


def test_identical_images_are_no_crash(problem: Problem) -> None:
    alike = problem.repair_set.tensors().inputs[:1].repeat(len(problem.repair_set), 1, 1, 1)
    blurred = dataclasses.replace(problem, repair_set=Split("repair", alike, problem.repair_set.labels))
    assert 1 <= run(blurred).costs["labels"] <= 40


@pytest.mark.parametrize(
    ("setting", "reason"), [({"budget_percent": 0.1}, "not a single label"), ({"lr": 1e6}, "finite")]
)
def test_what_cannot_end_well_is_a_failure(problem: Problem, setting: dict[str, float], reason: str) -> None:
    result = run(problem, **setting)
    assert result.outcome == "failure" and reason in result.reason


def test_subjects_that_lack_what_it_needs_are_refused(problem: Problem) -> None:
    task = problem.task
    HybridRepair().check(task)
    with pytest.raises(NotApplicable, match="needs images"):
        HybridRepair().check(dataclasses.replace(task, kind="tokens"))
    with pytest.raises(NotApplicable, match="two classes"):
        HybridRepair().check(dataclasses.replace(task, num_classes=1))
    with pytest.raises(NotApplicable, match="Linear"):
        HybridRepair().check(dataclasses.replace(task, model=nn.Flatten()))
    result = run(dataclasses.replace(problem, train=problem.train.subset(torch.arange(0))))
    assert result.outcome == "unadaptable" and "training inputs" in result.reason


def test_pictures_show_what_was_bought_and_read_no_further_label(problem: Problem) -> None:
    approach = trained(problem)
    labels = problem.pool.revealed
    pictures = approach.pictures()
    assert set(pictures) == {"bought", "clusters"} and torch.equal(problem.pool.revealed, labels)
    for figure in pictures.values():
        figure.savefig(io.BytesIO(), format="png")
    captions = [text.get_text() for text in pictures["clusters"].axes[0].get_yticklabels()]
    first = approach._purchase.bought[0]
    assert captions[0] == f"label {int(problem.repair_set.labels[first])}, for {len(approach._purchase.family(0))}"
