from __future__ import annotations

import dataclasses
import inspect
import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.methods.model_level.hybridrepair import HybridRepair
from study.parts.augmentation.augmix import OPERATORS, PIXEL
from study.parts.augmentation.mixing import Mixing
from study.parts.augmentation.views import Views
from study.parts.selection.label_budget import NONE
from study.parts.selection.uncertainty import relative, view_entropy
from study.parts.training.mixmatch import MixMatch
from study.problem.faulty import FaultyTraining
from study.problem.prediction import accuracy, predict, right
from study.problem.problem import Problem
from study.repairs.approach import Repaired
from study.repairs.run import RepairResult
from study.runtime.best_state import state_of
from study.runtime.fit import Stage
from study.runtime.randomness import forked
from tests.fitting import finished, fitted
from tests.problems import RECIPE, build, digits_problem, digits_splits, problem_of, same

QUICK: dict[str, Any] = {"views": 2, "severity": 1.0, "warm_epochs": 1, "epochs": 2, "max_ssl_steps": 5}
LABELS = ["uncertain_clusters", "uncertain", "random"]


@pytest.fixture
def problem() -> Problem:
    return digits_problem()


def quick(**options: Any) -> HybridRepair:
    return HybridRepair(**(QUICK | options))


def run(problem: Problem, **options: Any) -> RepairResult:
    return finished(quick(**options), problem)


def yields(problem: Problem, **options: Any) -> Iterator[dict[str, Any]]:
    """Runs a repair, without what the framework checks around it: its variables after each yield.

    Further ones are `item`, what was yielded (a training has been fitted), and at last `repaired`, what was returned.
    """
    generator = quick(**options).repair(problem)
    variables: dict[str, Any] = {}
    while True:
        try:
            item = next(generator)
        except StopIteration as end:
            yield variables | {"repaired": end.value}
            return
        variables = dict(inspect.getgeneratorlocals(generator)) | {"item": item}
        if isinstance(item, Stage):
            fitted(item)
        yield variables


def trained(problem: Problem, **options: Any) -> dict[str, Any]:
    """The variables of a repair at its end."""
    *_, variables = yields(problem, **options)
    assert isinstance(variables["repaired"], Repaired)
    return variables


def repaired(problem: Problem, **options: Any) -> nn.Module:
    model = trained(problem, **options)["repaired"].model
    assert isinstance(model, nn.Module)
    return model


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
    first = repaired(problem, labels=labels)
    hidden = torch.ones(len(problem.repair_set), dtype=torch.bool)
    hidden[problem.pool.revealed] = False
    other = torch.where(hidden, 10**6, problem.repair_set.labels)
    repair_split = Split("repair", problem.repair_set.tensors().inputs, other)
    nobody = problem.failing[:0]
    blind = dataclasses.replace(problem, repair_set=repair_split, failing=nobody, passing=nobody)
    assert same(first, repaired(blind, labels=labels))
    assert not same(first, problem.faulty)


def test_labels_are_propagated_within_clusters_alone(problem: Problem) -> None:
    labelled = {name: trained(problem, labels=name, warm_epochs=0, epochs=0)["selection"].labelled for name in LABELS}
    assert len(labelled["uncertain"]) == len(labelled["random"]) == 40
    assert len(labelled["uncertain_clusters"]) > 60


def test_the_selection_leaves_the_network_as_it_is() -> None:
    problem = digits_problem(batch_norm=True)
    model = next(yields(problem))["model"]
    assert same(model, problem.faulty)
    assert not any(module.training for module in model.modules())


def test_no_epoch_leaves_the_weights_as_they_are() -> None:
    problem = digits_problem(batch_norm=True)
    selected, end = yields(problem, warm_epochs=0, epochs=0)  # no training in between
    assert not isinstance(selected["item"], Stage)
    assert same(end["repaired"].model, problem.faulty)
    assert end["repaired"].costs["labels"] > 0


def test_without_repair_epochs_it_is_the_warm_fine_tuning_whatever_was_bought(problem: Problem) -> None:
    warm = repaired(problem, epochs=0)
    assert not same(warm, problem.faulty)
    assert same(warm, repaired(problem, epochs=0, labels="random", budget_percent=50))


@pytest.mark.parametrize("select", ["validation", "entropy"])
def test_the_best_epoch_is_kept(problem: Problem, select: str) -> None:
    scores, states = [], []
    for variables in yields(problem, select=select, epochs=8, lr=0.3, warm_epochs=0):
        if "repaired" in variables:
            kept = variables["repaired"].model.state_dict()
        elif "pool/entropy" in (log := variables["item"] if isinstance(variables["item"], dict) else {}):
            scores.append(log["validation/accuracy"] if select == "validation" else -log["pool/entropy"])
            states.append(state_of(variables["model"]))
    best = scores.index(max(scores))
    assert len(scores) == 8
    assert best < len(scores) - 1  # so that to keep the last one is no answer
    assert all(torch.equal(tensor, states[best][name]) for name, tensor in kept.items())


def test_only_trusted_or_labelled_inputs_are_drawn(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []
    loss, targets = MixMatch.loss, MixMatch.targets

    def spied_loss(self: MixMatch, batch: Any) -> Tensor:
        drawn.append(batch[1].indices)
        return loss(self, batch)

    def spied_targets(self: MixMatch, labels: Tensor, views: Tensor) -> Tensor:
        found = targets(self, labels, views)
        torch.testing.assert_close(found.sum(1), torch.ones(len(found)))
        assert torch.equal(found.argmax(1)[labels != NONE], labels[labels != NONE])
        return found

    monkeypatch.setattr(MixMatch, "loss", spied_loss)
    monkeypatch.setattr(MixMatch, "targets", spied_targets)
    selection = trained(problem, epochs=4, max_ssl_steps=6)["selection"]
    indices = torch.cat(drawn)
    assert len(indices) == 4 * 6 * 64
    allowed = (selection.labels != NONE) | selection.trusted
    assert (~allowed).sum() > 0 and bool(allowed[indices].all())
    assert bool((selection.labels[indices] == NONE).any())


def test_each_epoch_draws_by_the_uncertainty_after_the_one_before(problem: Problem) -> None:
    expected, drawn_by = list[Tensor](), list[Tensor]()
    for variables in yields(problem, epochs=3):
        if "entropy" in variables:
            expected.append(variables["selection"].weights(relative(variables["entropy"])).double())
        if isinstance(variables.get("item"), MixMatch):
            drawn_by.append(variables["item"].batches.weights)
    first = drawn_by.pop(0)
    assert len(drawn_by) == 2 and not any(torch.equal(weights, first) for weights in drawn_by)
    assert torch.equal(drawn_by[0], expected[0])
    assert torch.equal(drawn_by[1], next(own for own in expected if not torch.equal(own, expected[0])))


@pytest.mark.parametrize(("movable", "operators"), [(True, OPERATORS), (False, tuple(PIXEL))])
def test_trusted_inputs_are_those_up_to_tau(problem: Problem, movable: bool, operators: tuple[str, ...]) -> None:
    task = dataclasses.replace(problem.task, affine_invariant=movable)
    trusted = next(yields(dataclasses.replace(problem, task=task)))["selection"].trusted
    views = Views(Mixing(width=1, severity=1.0, operators=operators), 2, problem.stream("views"))
    u = relative(view_entropy(problem.faulty, problem.repair_set, views))
    assert u[trusted].max() < u[~trusted].min()
    assert right(problem.faulty, problem.repair_set)[trusted].double().mean() > 0.97


def test_curves_have_a_point_per_epoch_the_warm_ones_first(problem: Problem) -> None:
    curves = run(problem, warm_epochs=2, epochs=3, lr=0.05).curves
    places = {name: [step for step, _ in points] for name, points in curves.items()}
    warm, repair = [1, 2], [3, 4, 5]
    assert places == {
        "pool/labelled": [0],
        "pool/trusted": [0],
        "loss/warm": warm,
        "loss/supervised": repair,
        "loss/semi": repair,
        "pool/entropy": repair,
        "validation/accuracy": warm + repair,
        "validation/loss": warm + repair,
    }


def test_without_self_training_it_takes_as_many_steps_on_the_labels(problem: Problem) -> None:
    with_it, without = run(problem), run(problem, ssl=False)
    assert with_it.costs["steps"] == without.costs["steps"]
    assert not same(with_it.model, without.model)


def test_training_items_that_the_network_gets_wrong_are_left_out(problem: Problem) -> None:
    correct = right(problem.faulty, problem.train).nonzero().flatten()
    first = next(each for each in yields(problem, train_subset="right", warm_epochs=0) if "learnt" in each)
    assert torch.equal(first["learnt"], correct) and len(correct) < 800
    wrong = Split("train", problem.train.tensors().inputs, (predict(problem.faulty, problem.train).argmax(1) + 1) % 10)
    result = run(dataclasses.replace(problem, train=wrong), train_subset="right")
    assert result.outcome == "failure" and "no training input right" in result.reason
    assert result.costs["labels"] > 0


def test_momentum_is_kept_through_both_phases(problem: Problem) -> None:
    buffers = []
    for variables in yields(problem, epochs=1):
        if isinstance(variables["item"], Stage):
            optimizer = variables["sgd"]
            assert variables["item"].optimization is optimizer
            buffers.append(optimizer.state[next(variables["model"].parameters())]["momentum_buffer"])
    assert len(buffers) == 3 and bool(buffers[0].any())
    assert all(buffer is buffers[0] for buffer in buffers)


def test_bought_inputs_are_not_transformed_as_training_inputs_are(problem: Problem) -> None:
    problem = dataclasses.replace(problem, recipe=dataclasses.replace(problem.recipe, augmentation="crop"))
    variables = trained(problem)
    batch = variables["trainings"].labelled.fetch(torch.arange(700, 850))
    changed = (variables["supervised"].inputs_of(batch) != batch.inputs).flatten(1).any(1)
    assert changed[:100].double().mean() > 0.6 and not changed[100:].any()


def test_it_repeats_under_a_seed(problem: Problem) -> None:
    first, second = trained(problem), trained(problem)
    assert torch.equal(first["purchase"].bought, second["purchase"].bought)
    assert torch.equal(first["selection"].labels, second["selection"].labels)
    assert same(first["repaired"].model, second["repaired"].model)
    other = trained(dataclasses.replace(problem, seed=1))
    assert not torch.equal(first["purchase"].bought, other["purchase"].bought)


def test_a_blob_that_training_has_not_seen_is_learnt_from_a_few_labels() -> None:
    blobs = {0: 0, 1: 1, 3: 0, 6: 1}  # two digits per class; 6, which looks like 0, is missing from the training set
    splits = {name: _relabelled(split, blobs) for name, split in digits_splits().items()}
    for name in ("train", "validation"):
        splits[name] = splits[name].subset((splits[name].groups != 6).nonzero().flatten())
    with forked(0, "init"):
        model = build(num_classes=2)
    training = FaultyTraining(model, RECIPE, splits["train"], splits["validation"], 0)
    training.batches = splits["train"].batches(64, torch.Generator())
    fitted(training)
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
    variables = trained(problem)
    pictures, purchase = variables["repaired"].pictures(), variables["purchase"]
    assert set(pictures) == {"bought", "clusters"}
    assert torch.equal(problem.pool.revealed, purchase.bought.unique())
    for figure in pictures.values():
        figure.savefig(io.BytesIO(), format="png")
    captions = [text.get_text() for text in pictures["clusters"].axes[0].get_yticklabels()]
    first = purchase.bought[0]
    assert captions[0] == f"label {int(problem.repair_set.labels[first])}, for {len(purchase.recipients(0))}"
