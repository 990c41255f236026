"""Editable Training: the checks of its card, and its effect on digits."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch
from study.errors import NotApplicable, RepairFailed
from study.methods.model_level.editable_training import EditableTraining
from study.methods.model_level.finetune import Finetune
from study.parts.training.edit_probes import Guard, guard_subset
from study.parts.training.editing import GUARDED, Editing, still_wrong
from study.parts.training.editor import EditorSettings, shortfall
from study.parts.training.editor_training import EditorTraining, Objective
from study.problem.prediction import accuracy, right
from study.problem.problem import Problem
from study.repair.run import Repair, repair
from study.runtime.fit import Curves, fit
from study.storage.models import weights_hash
from tests.problems import HARDWARE, digits_problem, digits_splits

OFF: dict[str, Any] = {"c_edit": 0, "c_loc": 0}


def fitted(stage: Any, problem: Problem) -> Any:
    stage.begin(problem)
    curves = Curves()
    fit(stage, HARDWARE, loader=stage.batches(), curves=curves, epochs=stage.epochs, steps=stage.steps)
    return stage


def phase1(problem: Problem, **options: Any) -> EditorTraining:
    """The first stage, fitted."""
    stage = next(EditableTraining(**{"epochs": 2} | options).stages(problem))
    assert isinstance(stage, EditorTraining)
    fitted(stage, problem)
    return stage


def begun(problem: Problem, **options: Any) -> EditorTraining:
    stage = next(EditableTraining(**options).stages(problem))
    assert isinstance(stage, EditorTraining)
    stage.begin(problem)
    return stage


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
def test_without_its_two_terms_it_is_fine_tuning_bit_for_bit(schedule: Any, batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    options: dict[str, Any] = {"epochs": 3, "schedule": schedule, "p_repair": 0.5} | OFF
    result = repair(EditableTraining(phase2="none", **options), problem, HARDWARE)
    control = fitted(Finetune(data="train", epochs=3, schedule=schedule, select="validation"), problem)
    assert result.model is not None
    last = phase1(problem, **options).model
    delattr(last, "editor_decay")
    assert weights_hash(last) == weights_hash(control.model) != weights_hash(problem.faulty)
    assert weights_hash(result.model) == weights_hash(control.repaired())
    assert result.costs["steps"] == control.costs()["steps"] == 3 * 13
    assert weights_hash(phase1(problem, epochs=3, schedule=schedule).model) != weights_hash(last)


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
def test_no_epoch_and_no_phase_2_change_nothing(batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    result = repair(EditableTraining(epochs=0, phase2="none"), problem, HARDWARE)
    assert result.outcome == "failure" and not result.changed
    assert result.costs["weights_changed"] == 0


def tiny() -> tuple[nn.Module, Batch, Tensor, Tensor]:
    """A tanh network in float64 (so that it is smooth), an edit request, a batch and fixed softmax targets."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double().eval()
    inputs = torch.randn(6, 4, dtype=torch.float64)
    logits = model(inputs).detach()
    request = Batch(inputs[:1], logits[:1].argmin(1), torch.tensor([0]))
    return model, request, inputs, logits.softmax(1)


@pytest.mark.parametrize("scope", ["all", ["2"]])
def test_the_meta_gradient_equals_central_differences(scope: Any) -> None:
    model, request, inputs, targets = tiny()
    beta = nn.Parameter(torch.tensor(0.4, dtype=torch.float64))
    # The margin keeps the edit from succeeding, so that the number of steps is fixed.
    editor = EditorSettings(scope, 3, 0.05).editor(model, inputs[:1], beta)
    editor.margin = 10.0
    objective = Objective(c_edit=0.7, c_loc=1.3, p_repair=0, grad_clip=10)
    terms = objective.terms(editor, request, inputs, targets)
    for parameter in (*model.parameters(), beta):
        (gradient,) = torch.autograd.grad(terms, parameter, retain_graph=True)
        numeric = torch.zeros_like(parameter)
        for place in range(parameter.numel()):
            values = []
            for step in (1e-5, -2e-5):
                parameter.data.view(-1)[place] += step
                values.append(objective.terms(editor, request, inputs, targets).item())
            parameter.data.view(-1)[place] += 1e-5
            numeric.view(-1)[place] = (values[0] - values[1]) / 2e-5
        torch.testing.assert_close(gradient, numeric, atol=1e-6, rtol=1e-5)
        # An edit of the last layer alone has a constant gradient, hence no use for beta.
        assert gradient.any() or (scope != "all" and parameter is beta)


def test_an_edit_without_a_step_leaves_the_entropy_and_no_gradient() -> None:
    model, request, inputs, targets = tiny()
    editor = EditorSettings("all", 5, 0.05).editor(model, inputs[:1], torch.tensor(0.5, dtype=torch.float64))
    request = request._replace(labels=targets[:1].argmax(1))
    terms = Objective(0, 1, 0, 10).terms(editor, request, inputs, targets)
    assert terms.item() == pytest.approx(-(targets * targets.log()).sum(1).mean().item())
    gradients = torch.autograd.grad(terms, list(model.parameters()))
    assert all(gradient.abs().max() < 1e-12 for gradient in gradients)


def test_a_steps_loss_has_three_parts() -> None:
    stage = begun(digits_problem(), c_edit=0.3, c_loc=0.2, edit_steps=1, alpha=1e-4)
    batch = next(iter(stage.batches()))
    model, editor = stage.model, stage.editor
    stage._requests.manual_seed(4)
    found = stage.loss(batch)
    stage._requests.manual_seed(4)
    request = stage.request()
    edit = editor.edit(editor.features(request.inputs), request.labels, graph=False)
    assert edit.loss > 0 and edit.steps == 1
    logits, edited = model(batch.inputs), editor.logits(editor.features(batch.inputs), edit.weights)
    locality = -(logits.softmax(1) * edited.log_softmax(1)).sum(1).mean()
    expected = functional.cross_entropy(logits, batch.labels) + 0.2 * locality + 0.3 * edit.loss
    torch.testing.assert_close(found, expected)


def test_batch_norm_statistics_follow_the_batch_and_not_the_edit() -> None:
    problem = digits_problem(batch_norm=True)
    stage, control = begun(problem), Finetune(data="train")
    control.begin(problem)
    batch = next(iter(stage.batches()))
    for approach in (stage, control):
        approach.train()
        approach.loss(batch).backward()
    ours, theirs = dict(stage.model.named_buffers()), dict(control.model.named_buffers())
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(module.training for module in stage.model.modules())
    assert stage.model.editor_decay.grad is not None


def test_requests_are_random_or_failing_repair_inputs() -> None:
    problem = digits_problem()
    stage = begun(problem)
    drawn = [stage.request() for _ in range(400)]
    labels = torch.cat([request.labels for request in drawn])
    assert torch.bincount(labels, minlength=10).min() > 15
    places = torch.cat([request.indices for request in drawn])
    agree = (problem.train.labels[places] == labels).double().mean()
    assert 0.04 < agree < 0.2
    assert len(places.unique()) > 250
    stage = begun(problem, p_repair=1.0)
    for request in (stage.request() for _ in range(20)):
        assert request.indices.item() in problem.failing.tolist()
        assert torch.equal(request.labels, problem.repair_set.labels[request.indices])


def gradient_norm(clip: float) -> float:
    """Norm of the gradient that the optimizer's first step gets."""
    stage, norms = begun(digits_problem(), epochs=1, grad_clip=clip), list[float]()
    stage.on_train_batch_end = lambda *_: norms.append(  # type: ignore[method-assign]
        torch.stack([parameter.grad.norm() for parameter in stage.model.parameters()]).norm().item()
    )
    fit(stage, HARDWARE, loader=stage.batches(), curves=Curves(), steps=1)
    return norms[0]


def test_the_gradient_is_clipped() -> None:
    norms = [gradient_norm(1e-3), gradient_norm(10.0)]
    assert norms[0] == pytest.approx(1e-3, rel=1e-3)
    assert 1e-2 < norms[1] <= 10


def test_training_lowers_the_drawdown_and_edits_go_on_to_succeed() -> None:
    stage = phase1(digits_problem(), epochs=10, c_edit=0.1, c_loc=1.0, n_probe=60, alpha=3e-3, edit_steps=15)
    before, after = stage.evaluations[0].log(), stage.evaluations[-1].log()
    assert after["edit/drawdown"] < before["edit/drawdown"]
    assert min(before["edit/success"], after["edit/success"]) > 0.9
    control = phase1(digits_problem(), epochs=10, n_probe=60, alpha=3e-3, edit_steps=15, **OFF).evaluations[-1].log()
    assert after["edit/drawdown"] < control["edit/drawdown"]
    assert stage.model.editor_decay != 0.5


def test_the_epoch_with_the_least_error_is_kept_and_its_figures_told() -> None:
    problem = digits_problem()
    stage = phase1(problem, epochs=5, schedule="constant")
    accuracies = [evaluation.accuracy for evaluation in stage.evaluations[1:]]
    assert stage.chosen is not None
    assert stage.chosen.accuracy == max(accuracies)
    ties = [e.drawdown for e in stage.evaluations[1:] if e.accuracy == max(accuracies)]
    assert stage.chosen.drawdown == min(ties)
    costs = stage.costs()
    assert costs["drawdown_after"] == min(ties)
    assert costs["drawdown_before"] == stage.evaluations[0].drawdown
    assert costs["steps"] == 5 * 13
    model, _ = stage.trained()
    assert accuracy(model, problem.validation) == max(accuracies)
    assert set(model.state_dict()) == set(problem.faulty.state_dict())


def test_patience_ends_training_that_improves_nothing() -> None:
    stage = phase1(digits_problem(), epochs=30, patience=1, lr=1e-9)
    assert len(stage.evaluations) == 2
    assert len(phase1(digits_problem(), epochs=3, lr=1e-9).evaluations) == 4


def edited(mode: Any, settings: EditorSettings, tol: float = 0.001) -> tuple[Editing, Problem]:
    problem = digits_problem()
    stage = Editing(problem.copy(), settings, torch.tensor(0.5), mode, tol)
    return fitted(stage, problem), problem


@pytest.mark.parametrize("mode", ["sequential", "joint"])
@pytest.mark.parametrize("tol", [0.0, 0.02])
def test_phase_2_repairs_within_what_the_guard_set_allows(mode: Any, tol: float) -> None:
    stage, problem = edited(mode, EditorSettings("all", 5, 3e-4), tol)
    guard = guard_subset(problem.validation, GUARDED, problem.stream("guard"))
    assert accuracy(stage.repaired(), guard) >= accuracy(problem.faulty, guard) - tol - 1e-9
    failing = problem.repair_set.subset(problem.failing)
    fixed = right(stage.repaired(), failing).sum()
    assert stage.accepted and fixed
    assert stage.accepted + stage.rejected <= len(failing)
    if mode == "joint":
        assert stage.accepted == 1
    assert stage.costs() == {"accepted_edits": stage.accepted, "rejected_edits": stage.rejected}


def test_an_edit_that_fails_or_costs_too_much_is_dropped() -> None:
    for settings, tol in ((EditorSettings("all", 1, 1e-7), 1.0), (EditorSettings("all", 5, 0.3), 0.0)):
        for mode in ("sequential", "joint"):
            stage, problem = edited(mode, settings, tol)
            assert weights_hash(stage.repaired()) == weights_hash(problem.faulty)
            assert (stage.accepted, stage.rejected) == (0, len(problem.failing) if mode == "sequential" else 1)


def test_the_easiest_edits_come_first() -> None:
    problem = digits_problem()
    editor = EditorSettings("all", 5, 1e-3).editor(problem.faulty, problem.repair_set.inputs[:1], torch.tensor(0.5))
    both = problem.repair_set.subset(torch.cat([problem.passing[:5], problem.failing]))
    features, labels = still_wrong(editor, both)
    losses = shortfall(editor.predict(features), labels)
    assert len(labels) == len(problem.failing)
    assert (losses > 0).all() and (losses.diff() >= 0).all()
    assert isinstance(Guard.of(editor, problem.validation).accuracy(editor), Tensor)


class OnceDifferentiable(torch.autograd.Function):
    """Doubles its input, and refuses to be differentiated twice."""

    @staticmethod
    def forward(context: Any, inputs: Tensor) -> Tensor:
        return inputs * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


class Opaque(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.out(OnceDifferentiable.apply(self.hidden(inputs.flatten(1))))
        return logits


def test_what_cannot_be_differentiated_twice_is_unadaptable() -> None:
    task = digits_problem().task
    task.model.zero_grad()
    EditableTraining().check(task)
    EditableTraining(edit_steps=0).check(digits_problem(batch_norm=True).task)
    with pytest.raises(NotApplicable, match="differentiated twice"):
        EditableTraining().check(dataclasses.replace(task, model=Opaque().eval()))
    with pytest.raises(NotApplicable, match="layer3"):
        EditableTraining(edit_scope=["layer3"]).check(task)
    assert not any(parameter.grad is not None for parameter in task.model.parameters())


@pytest.fixture(scope="module")
def result() -> tuple[EditableTraining, Repair]:
    approach = EditableTraining(epochs=6)
    return approach, repair(approach, digits_problem(), HARDWARE)


def test_repairs_digits(result: tuple[EditableTraining, Repair]) -> None:
    problem, test = digits_problem(), digits_splits()["test"]
    _, outcome = result
    assert outcome.outcome == "repaired" and outcome.model is not None
    before, after = right(problem.faulty, test), right(outcome.model, test)
    assert (after & ~before).sum() > 0.2 * (~before).sum()
    assert (before & ~after).double().mean() < 0.03
    assert set(outcome.model.state_dict()) == set(problem.faulty.state_dict())


def test_both_phases_are_logged(result: tuple[EditableTraining, Repair]) -> None:
    _, outcome = result
    expected = {"steps", "success_before", "success_after", "drawdown_before", "drawdown_after"}
    assert expected | {"accepted_edits", "rejected_edits"} <= set(outcome.costs)
    standing = ("validation/accuracy", "validation/negative_flip_rate", "repair_set/repair_rate")
    for name in (*standing, "edit/success", "edit/drawdown", "edit/steps"):
        assert [step for step, _ in outcome.curves[name]] == [13 * epoch for epoch in range(7)]
    assert [outcome.curves[name][0][1] for name in standing[1:]] == [0, 0]
    edits = outcome.curves["edits/accepted"][-1][1] + outcome.curves["edits/rejected"][-1][1]
    assert edits == outcome.costs["accepted_edits"] + outcome.costs["rejected_edits"] > 0


def test_pictures_show_the_curves(result: tuple[EditableTraining, Repair]) -> None:
    approach, outcome = result
    pictures = approach.pictures()
    assert {name: len(figure.axes) for name, figure in pictures.items()} == {"progress": 3, "editability": 2}
    line, kept = pictures["editability"].axes[1].get_lines()
    assert line.get_xdata().tolist() == [13 * epoch for epoch in range(7)]
    assert line.get_ydata()[0] == pytest.approx(100 * outcome.costs["drawdown_before"])
    assert kept.get_ydata()[0] == pytest.approx(100 * outcome.costs["drawdown_after"])
    assert EditableTraining().pictures() == {}


def test_says_early_that_time_will_not_suffice(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        result = repair(EditableTraining(epochs=5000, max_seconds=2.0), digits_problem(), HARDWARE)
    assert result.outcome == "corrupted"
    assert "over method.max_seconds=2" in caplog.text


def test_a_loss_that_is_no_longer_finite_is_a_failure() -> None:
    stage = begun(digits_problem())
    batch = next(iter(stage.batches()))
    with torch.no_grad():
        stage.model.get_parameter("net.layers.5.bias").fill_(torch.nan)
    stage.training_step(batch, 0)
    with pytest.raises(RepairFailed, match="finite"):
        stage.select(0)


@pytest.mark.parametrize(("phase2", "kinds"), [("none", [EditorTraining]), ("joint", [EditorTraining, Editing])])
def test_phases(phase2: Any, kinds: list[type]) -> None:
    problem = digits_problem()
    stages = [fitted(stage, problem) for stage in EditableTraining(epochs=0, phase2=phase2).stages(problem)]
    assert [type(stage) for stage in stages] == kinds
