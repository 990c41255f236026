"""How well a network can be edited, against edits that are written into copies of it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from study.data.split import Split
from study.parts.training.edit_probes import Guard, Probes, guard_subset
from study.parts.training.editor import Editor, EditorSettings
from study.problem.prediction import accuracy
from study.runtime.randomness import stream
from tests.problems import digits_problem, digits_splits


def editor_of(model: nn.Module) -> Editor:
    return EditorSettings("all", 3, 3e-3).editor(model, digits_splits()["repair"].inputs[:1], torch.tensor(0.5))  # type: ignore[index]


def test_probes_measure_what_edits_written_into_a_copy_do() -> None:
    problem = digits_problem()
    validation, model = problem.validation, problem.copy()
    inputs = torch.randint(len(validation), (6,), generator=stream(0, "probes"))
    probes = Probes(validation, validation, 10, 6, stream(0, "probes"))
    editor = editor_of(model)
    measured = probes.measure(editor)
    lost, succeeded, steps = 0.0, 0, 0
    for index, label in zip(inputs, probes._labels.split(1), strict=True):
        edit = editor.edit(editor.features(validation.fetch(index[None]).inputs), label, graph=False)
        edited = copy.deepcopy(model)
        editor_of(edited).write(edit.weights)
        lost += accuracy(model, validation) - accuracy(edited, validation)
        succeeded += bool(edit.success)
        steps += int(edit.steps)
    assert measured == pytest.approx((succeeded / 6, lost / 6, steps / 6))
    assert measured.drawdown > 0 and 0 < measured.success < 1


def test_the_guard_set_is_limited_and_always_the_same() -> None:
    few = digits_splits()["validation"]
    assert torch.equal(guard_subset(few, 1000, stream(0, "guard")).labels, few.labels)
    many = Split("validation", torch.arange(5000.0)[:, None], torch.arange(5000))
    first, again = (guard_subset(many, 1000, stream(0, "guard")).labels for _ in range(2))
    assert len(first) == len(first.unique()) == 1000 and torch.equal(first, again)
    model = digits_problem().faulty
    assert Guard.of(editor_of(model), few).accuracy(editor_of(model)).item() == accuracy(model, few)
