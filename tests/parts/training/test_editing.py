"""Guarded editing: what is accepted, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.training.edit_probes import Guard, guard_subset
from study.parts.training.editing import GUARD_SIZE, EditCounts, Watch, guarded_edits, still_wrong
from study.parts.training.editor import Edit, EditorSettings, shortfall
from study.problem.prediction import accuracy, right
from study.storage.models import weights_hash
from tests.problems import digits_problem

PROBLEM = digits_problem()
FAILING = PROBLEM.repair_set.subset(PROBLEM.failing)
GUARDED = guard_subset(PROBLEM.validation, GUARD_SIZE, PROBLEM.stream("guard"))


def edited(
    mode: Any, settings: EditorSettings, tol: float = 0.001
) -> tuple[nn.Module, EditCounts, list[Mapping[str, float | Tensor]]]:
    """The edited model, the counts and what was logged."""
    model, logs = PROBLEM.copy(), []
    editor = settings.editor(model, FAILING.fetch(torch.tensor([0])).inputs, torch.tensor(0.5))
    edits = guarded_edits(editor, FAILING, Guard.of(editor, GUARDED), mode=mode, tol=tol)
    while True:
        try:
            logs.append(next(edits))
        except StopIteration as end:
            return model, end.value, logs


@pytest.mark.parametrize("mode", ["sequential", "joint"])
@pytest.mark.parametrize("tol", [0.0, 0.02])
def test_repairs_within_what_the_guard_set_allows(mode: Any, tol: float) -> None:
    model, counts, logs = edited(mode, EditorSettings("all", 5, 3e-4), tol)
    assert accuracy(model, GUARDED) >= accuracy(PROBLEM.faulty, GUARDED) - tol - 1e-9
    fixed = right(model, FAILING).sum()
    assert counts.accepted and fixed
    assert counts.accepted + counts.rejected <= len(FAILING)
    if mode == "joint":
        assert counts.accepted == 1
    assert counts.costs() == {"accepted_edits": counts.accepted, "rejected_edits": counts.rejected}
    assert len(logs) == counts.accepted + counts.rejected
    assert (logs[-1]["edits/accepted"], logs[-1]["edits/rejected"]) == counts
    assert float(logs[-1]["edits/guard_accuracy"]) == accuracy(model, GUARDED)


def test_an_edit_that_fails_or_costs_too_much_is_rejected() -> None:
    for settings, tol in ((EditorSettings("all", 1, 1e-7), 1.0), (EditorSettings("all", 5, 0.3), 0.0)):
        for mode in ("sequential", "joint"):
            model, counts, _ = edited(mode, settings, tol)
            assert weights_hash(model) == weights_hash(PROBLEM.faulty)
            assert counts == (0, len(FAILING) if mode == "sequential" else 1)


@pytest.mark.parametrize("mode", ["sequential", "joint"])
def test_where_nothing_is_wrong_nothing_is_edited(mode: Any) -> None:
    editor = EditorSettings("all", 5, 1e-3).editor(PROBLEM.copy(), FAILING.inputs[:1], torch.tensor(0.5))  # type: ignore[index]
    passing = PROBLEM.repair_set.subset(PROBLEM.passing)
    with pytest.raises(StopIteration) as end:
        next(guarded_edits(editor, passing, Guard.of(editor, GUARDED), mode=mode, tol=0.0))
    assert end.value.value == EditCounts(0, 0)


def test_the_easiest_edits_come_first() -> None:
    repair_set = PROBLEM.repair_set
    editor = EditorSettings("all", 5, 1e-3).editor(PROBLEM.faulty, FAILING.inputs[:1], torch.tensor(0.5))  # type: ignore[index]
    both = repair_set.subset(torch.cat([PROBLEM.passing[:5], PROBLEM.failing]))
    features, labels = still_wrong(editor, both)
    losses = shortfall(editor.predict(features), labels)
    assert len(labels) == len(PROBLEM.failing)
    assert (losses > 0).all() and (losses.diff() >= 0).all()
    assert isinstance(Guard.of(editor, PROBLEM.validation).accuracy(editor), Tensor)


@pytest.mark.parametrize("tol", [0.0, 0.005, 0.02])
def test_the_watch_decides_as_the_accuracy_on_the_whole_guard_set_does(tol: float) -> None:
    editor = EditorSettings("all", 5, 1e-3).editor(PROBLEM.copy(), FAILING.inputs[:1], torch.tensor(0.5))  # type: ignore[index]
    guard = Guard.of(editor, GUARDED)
    least = float(guard.accuracy(editor)) - tol - 1e-9
    watch, decisions = Watch(editor, guard, least), set()
    for feature, label in zip(*(part.split(1) for part in still_wrong(editor, FAILING)), strict=True):
        edit = editor.edit(feature, label, graph=False)
        accuracy_after = float(guard.accuracy(editor, edit.weights))
        allowed = watch.allows(edit.weights)
        assert allowed == (accuracy_after >= least)
        decisions.add(allowed)
        if allowed:
            assert watch.accuracy == accuracy_after
            editor.write(edit.weights)
    assert decisions == {True, False}


def test_the_watch_looks_at_few_inputs_of_a_harmful_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    editor = EditorSettings("all", 5, 0.3).editor(PROBLEM.copy(), FAILING.inputs[:1], torch.tensor(0.5))  # type: ignore[index]
    guard = Guard.of(editor, GUARDED)
    watch = Watch(editor, guard, float(guard.accuracy(editor)))
    edit = editor.edit(editor.features(FAILING.inputs[:1]), FAILING.labels[:1], graph=False)  # type: ignore[index]
    seen: list[int] = []
    predict = editor.predict
    monkeypatch.setattr(
        editor, "predict", lambda features, weights: (seen.append(len(features)), predict(features, weights))[1]
    )
    assert not watch.allows(edit.weights)
    assert sum(seen) <= 0.1 * len(guard.labels) + 1


class Scripted:
    """An editor of which each iterate gives given answers, [iterates, items]; an item's features are its number."""

    def __init__(self, answers: Tensor) -> None:
        self.answers, self.written = answers, list[int]()

    def features_of(self, split: Split) -> Tensor:
        return split.fetch(torch.arange(len(split))).inputs

    def predict(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        number = int(weights["number"]) if weights else 0
        return functional.one_hot(self.answers[number, features], 2).float()

    def iterates(self, features: Tensor, labels: Tensor, *, graph: bool) -> Iterator[Edit]:
        for number in range(len(self.answers)):
            yield Edit({"number": torch.tensor(number)}, torch.tensor(1.0), number)

    def write(self, weights: dict[str, Tensor]) -> None:
        self.written.append(int(weights["number"]))


def test_of_the_iterates_of_a_joint_edit_the_one_that_repairs_most_within_the_bound_is_taken() -> None:
    """Three inputs to correct, then four of the guard set; the second iterate repairs most, but costs accuracy."""
    answers = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [1, 1, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 0], [1, 0, 0, 1, 1, 1, 1]])
    editor: Any = Scripted(answers)
    failing = Split("failing", torch.arange(3), torch.ones(3, dtype=torch.int64))
    guard = Guard(torch.arange(3, 7), torch.ones(4, dtype=torch.int64))
    list(guarded_edits(editor, failing, guard, mode="joint", tol=0.0))
    assert editor.written == [1]
    list(guarded_edits(editor, failing, guard, mode="joint", tol=0.25))
    assert editor.written == [1, 2]
