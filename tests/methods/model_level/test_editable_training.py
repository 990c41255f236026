"""Editable Training: both phases together, and its effect on digits. Its parts are tested on their own."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.errors import NotApplicable
from study.methods.model_level.editable_training import EditableTraining
from study.parts.training import editor_training
from study.parts.training.editor import Editor, EditorSettings
from study.parts.training.editor_training import EditorTraining
from study.parts.training.fine_tuning import FineTuning
from study.problem.prediction import right
from study.repairs.run import RepairResult
from study.runtime.fit import Stage
from study.storage.models import weights_hash
from tests.fitting import finished, fitted
from tests.problems import digits_problem, digits_splits


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
def test_without_its_two_terms_it_is_fine_tuning_bit_for_bit(schedule: Any, batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    options: dict[str, Any] = {"epochs": 3, "schedule": schedule}
    result = finished(EditableTraining(phase2="none", p_repair=0.5, c_edit=0, c_loc=0, **options), problem)
    control = FineTuning(problem, problem.copy(), problem.train, keep="validation", **options)
    fitted(control)
    assert result.model is not None
    assert weights_hash(result.model) == weights_hash(control.model)
    assert result.costs["steps"] == control.steps_taken == 3 * 13


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
def test_no_epoch_and_no_phase_2_change_nothing(batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    result = finished(EditableTraining(epochs=0, phase2="none"), problem)
    assert result.outcome == "failure" and not result.changed
    assert result.costs["weights_changed"] == 0


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
    with pytest.raises(NotApplicable, match="differentiated twice: Opaque cannot"):
        EditableTraining().check(dataclasses.replace(task, model=Opaque().eval()))
    with pytest.raises(NotApplicable, match="layer3"):
        EditableTraining(edit_scope=["layer3"]).check(task)
    assert not any(parameter.grad is not None for parameter in task.model.parameters())


@pytest.fixture(scope="module")
def result() -> RepairResult:
    return finished(EditableTraining(epochs=6))


def test_repairs_digits(result: RepairResult) -> None:
    problem, test = digits_problem(), digits_splits()["test"]
    assert result.outcome == "repaired" and result.model is not None
    before, after = right(problem.faulty, test), right(result.model, test)
    assert (after & ~before).sum() > 0.2 * (~before).sum()
    assert (before & ~after).double().mean() < 0.03
    assert set(result.model.state_dict()) == set(problem.faulty.state_dict())


def test_both_phases_are_logged(result: RepairResult) -> None:
    expected = {"steps", "success_before", "success_after", "drawdown_before", "drawdown_after"}
    assert expected | {"accepted_edits", "rejected_edits"} <= set(result.costs)
    standing = ("validation/accuracy", "validation/negative_flip_rate", "repair_set/repair_rate")
    for name in (*standing, "edit/success", "edit/drawdown", "edit/steps"):
        assert [step for step, _ in result.curves[name]] == [13 * epoch for epoch in range(7)]
    assert [result.curves[name][0][1] for name in standing[1:]] == [0, 0]
    edits = result.curves["edits/accepted"][-1][1] + result.curves["edits/rejected"][-1][1]
    assert edits == result.costs["accepted_edits"] + result.costs["rejected_edits"] > 0


def test_pictures_show_the_curves(result: RepairResult) -> None:
    pictures = result.pictures
    assert {name: len(figure.axes) for name, figure in pictures.items()} == {"progress": 3, "editability": 2}
    line, kept = pictures["editability"].axes[1].get_lines()
    assert line.get_xdata().tolist() == [13 * epoch for epoch in range(7)]  # type: ignore[union-attr]
    assert line.get_ydata()[0] == pytest.approx(100 * result.costs["drawdown_before"])  # type: ignore[index]
    assert kept.get_ydata()[0] == pytest.approx(100 * result.costs["drawdown_after"])  # type: ignore[index]


def test_warns_that_time_will_not_suffice(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editor_training, "TIMED_STEPS", 1)  # a busy machine may not get to 20 within the budget
    with caplog.at_level(logging.WARNING):
        result = finished(EditableTraining(epochs=5000, max_seconds=2.0))
    assert result.outcome == "corrupted"
    assert "over method.max_seconds=2" in caplog.text


def test_a_loss_that_is_no_longer_finite_is_a_failure() -> None:
    result = finished(EditableTraining(epochs=2, schedule="constant", lr=10, alpha=1e30))
    assert result.outcome == "failure" and "the loss is no longer finite" in result.reason
    assert {"steps", "success_before", "drawdown_before"} <= set(result.costs)


@pytest.mark.parametrize(("phase2", "kinds"), [("none", [EditorTraining]), ("joint", [EditorTraining, dict])])
def test_phases(phase2: Any, kinds: list[type]) -> None:
    found = []
    for item in EditableTraining(epochs=0, phase2=phase2).repair(digits_problem()):
        found.append(type(item))
        if isinstance(item, Stage):
            fitted(item)
    assert found == kinds


def test_phase_2_edits_as_phase_1_has_learnt_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the trained decay, not by that of the start."""
    decays, editor = list[float](), EditorSettings.editor

    def watched(self: EditorSettings, model: nn.Module, example: Tensor, decay: Tensor) -> Editor:
        decays.append(float(decay.detach()))
        return editor(self, model, example, decay)

    monkeypatch.setattr(EditorSettings, "editor", watched)
    finished(EditableTraining(epochs=2, phase2="joint"))
    assert decays[0] == 0.5 != decays[-1]


def test_an_edit_of_first_order_takes_its_steps_as_constant() -> None:
    orders = [EditableTraining(first_order=first).editor_settings.second_order for first in (False, True)]
    assert orders == [True, False]
