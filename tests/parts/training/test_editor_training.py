"""Phase 1 of Editable Training: its loss, its gradient, its requests, and which epoch it keeps."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch
from study.errors import RepairFailed
from study.parts.training.edit_probes import Editability
from study.parts.training.editor import EditorSettings
from study.parts.training.editor_training import EditorTraining, Evaluation, Objective
from study.parts.training.fine_tuning import FineTuning
from study.parts.training.standing import Standing
from study.problem.prediction import accuracy
from study.problem.problem import Problem
from study.runtime.best_state import state_of
from study.storage.models import weights_hash
from tests.fitting import fitted
from tests.problems import digits_problem

OFF: dict[str, Any] = {"c_edit": 0, "c_loc": 0}


def training_of(problem: Problem, **options: Any) -> EditorTraining:
    """A training with the default settings of Editable Training, except for `options`."""
    settings = EditorSettings("auto", options.pop("edit_steps", 5), options.pop("alpha", 1e-3))
    objective = {"c_edit": 0.01, "c_loc": 0.01, "p_repair": 0.0, "grad_clip": 10.0}
    objective |= {name: options.pop(name) for name in objective if name in options}
    options = {"beta": 0.5, "n_probe": 20, "epochs": 2} | options
    model, data = problem.copy(), problem.train
    return EditorTraining(problem, model, data, settings=settings, objective=Objective(**objective), **options)


def trained(problem: Problem, **options: Any) -> EditorTraining:
    training = training_of(problem, **options)
    fitted(training)
    return training


def last_state(training: FineTuning) -> dict[str, Tensor]:
    """Fit the training; the weights after its last step, before it goes back to the epoch that it keeps."""
    last: dict[str, Tensor] = {}
    training.on_train_end = lambda: last.update(state_of(training.model))  # type: ignore[method-assign]
    fitted(training)
    last.pop("editor_decay", None)
    return last


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
def test_without_its_two_terms_it_is_fine_tuning_bit_for_bit(schedule: Any, batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    options: dict[str, Any] = {"epochs": 3, "schedule": schedule}
    training = training_of(problem, p_repair=0.5, **options, **OFF)
    control = FineTuning(problem, problem.copy(), problem.train, keep="validation", **options)
    last, expected = last_state(training), last_state(control)
    assert equal(last, expected) and not equal(last, state_of(problem.faulty))
    training.remove_decay()
    assert weights_hash(training.model) == weights_hash(control.model)
    assert training.steps_taken == control.steps_taken == 3 * 13
    assert not equal(last_state(training_of(problem, p_repair=0.5, **options)), last)


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
    editor = EditorSettings(scope, 3, 0.05, margin=10.0).editor(model, inputs[:1], beta)
    objective = Objective(c_edit=0.7, c_loc=1.3, p_repair=0, grad_clip=10)
    terms = objective.terms(editor, request, inputs, targets)
    for parameter in (*model.parameters(), beta):
        (gradient,) = torch.autograd.grad(terms, parameter, retain_graph=True)
        numeric = torch.zeros_like(parameter)
        for index in range(parameter.numel()):
            values = []
            for step in (1e-5, -2e-5):
                parameter.data.view(-1)[index] += step
                values.append(objective.terms(editor, request, inputs, targets).item())
            parameter.data.view(-1)[index] += 1e-5
            numeric.view(-1)[index] = (values[0] - values[1]) / 2e-5
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
    training = training_of(digits_problem(), c_edit=0.3, c_loc=0.2, edit_steps=1, alpha=1e-4)
    batch = next(iter(training.train_dataloader()))
    model, editor = training.model, training.editor
    training.requests.manual_seed(4)
    found = training.loss(batch)
    training.requests.manual_seed(4)
    request = training.request()
    edit = editor.edit(editor.features(request.inputs), request.labels, graph=False)
    assert edit.loss > 0 and edit.steps == 1
    logits, edited = model(batch.inputs), editor.logits(editor.features(batch.inputs), edit.weights)
    locality = -(logits.softmax(1) * edited.log_softmax(1)).sum(1).mean()
    expected = functional.cross_entropy(logits, batch.labels) + 0.2 * locality + 0.3 * edit.loss
    torch.testing.assert_close(found, expected)


def gradients_of(loss: Tensor, model: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, materialize_grads=True))


def test_a_steps_gradient_takes_the_unedited_answers_as_constant() -> None:
    """What locality compares with is held: through it the network would learn to answer as its edited copy does."""
    training = training_of(digits_problem(), c_edit=0.0, c_loc=50.0, edit_steps=2, alpha=1e-2)
    batch = next(iter(training.train_dataloader()))
    model, editor = training.model, training.editor
    training.requests.manual_seed(4)
    found = gradients_of(training.loss(batch), model)
    training.requests.manual_seed(4)
    request = training.request()
    edit = editor.edit(editor.features(request.inputs), request.labels, graph=True)
    logits, edited = model(batch.inputs), editor.logits(editor.features(batch.inputs), edit.weights)
    held, live = (
        gradients_of(
            functional.cross_entropy(logits, batch.labels) - 50 * (target * edited.log_softmax(1)).sum(1).mean(), model
        )
        for target in (logits.detach().softmax(1), logits.softmax(1))
    )
    torch.testing.assert_close(found, held)
    assert max((one - other).abs().max() for one, other in zip(held, live, strict=True)) > 0.1


def test_batch_norm_statistics_follow_the_batch_and_not_the_edit() -> None:
    problem = digits_problem(batch_norm=True)
    training = training_of(problem)
    control = FineTuning(problem, problem.copy(), problem.train, epochs=2)
    batch = next(iter(training.train_dataloader()))
    for either in (training, control):
        either.train()
        either.loss(batch).backward()
    ours, theirs = dict(training.model.named_buffers()), dict(control.model.named_buffers())
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(module.training for module in training.model.modules())
    assert training.model.get_parameter("editor_decay").grad is not None


def test_requests_are_random_or_failing_repair_inputs() -> None:
    problem = digits_problem()
    training = training_of(problem)
    requests = [training.request() for _ in range(400)]
    labels = torch.cat([request.labels for request in requests])
    assert torch.bincount(labels, minlength=10).min() > 15
    indices = torch.cat([request.indices for request in requests])
    agree = (problem.train.labels[indices] == labels).double().mean()
    assert 0.04 < agree < 0.2
    assert len(indices.unique()) > 250
    training = training_of(problem, p_repair=1.0)
    for request in (training.request() for _ in range(20)):
        assert request.indices.item() in problem.failing.tolist()
        assert torch.equal(request.labels, problem.repair_set.labels[request.indices])


def gradient_norm(clip: float) -> float:
    """Norm of the gradient that the optimizer's first step gets."""
    training, norms = training_of(digits_problem(), steps=1, grad_clip=clip), list[float]()
    training.on_train_batch_end = lambda *_: norms.append(  # type: ignore[method-assign]
        torch.stack([parameter.grad.norm() for parameter in training.model.parameters()]).norm().item()
    )
    fitted(training)
    return norms[0]


def test_the_gradient_is_clipped() -> None:
    norms = [gradient_norm(1e-3), gradient_norm(10.0)]
    assert norms[0] == pytest.approx(1e-3, rel=1e-3)
    assert 1e-2 < norms[1] <= 10


def test_training_lowers_the_drawdown_and_edits_go_on_to_succeed() -> None:
    options: dict[str, Any] = {"epochs": 10, "n_probe": 60, "alpha": 3e-3, "edit_steps": 15}
    training = training_of(digits_problem(), c_edit=0.1, c_loc=1.0, **options)
    decays: list[float] = []
    training.on_train_end = lambda: decays.append(training.editor.decay.item())  # type: ignore[method-assign]
    fitted(training)
    before, after = training.evaluations[0].log(), training.evaluations[-1].log()
    assert after["edit/drawdown"] < before["edit/drawdown"]
    assert min(before["edit/success"], after["edit/success"]) > 0.9
    control = trained(digits_problem(), **options, **OFF).evaluations[-1].log()
    assert after["edit/drawdown"] < control["edit/drawdown"]
    assert decays[0] != 0.5


def test_the_epoch_with_the_lowest_error_is_kept_and_its_figures_are_reported() -> None:
    problem = digits_problem()
    training = trained(problem, epochs=5, schedule="constant")
    accuracies = [evaluation.accuracy for evaluation in training.evaluations[1:]]
    assert training.chosen is not None
    assert training.chosen.accuracy == max(accuracies)
    ties = [e.drawdown for e in training.evaluations[1:] if e.accuracy == max(accuracies)]
    assert training.chosen.drawdown == min(ties)
    costs = training.costs()
    assert costs["drawdown_after"] == min(ties)
    assert costs["drawdown_before"] == training.evaluations[0].drawdown
    assert training.steps_taken == 5 * 13
    assert accuracy(training.model, problem.validation) == max(accuracies)
    assert training.probes.measure(training.editor) == training.chosen.editability
    training.remove_decay()
    assert set(training.model.state_dict()) == set(problem.faulty.state_dict())


def test_of_epochs_with_the_same_error_that_with_the_lowest_drawdown_is_chosen() -> None:
    def measured(accuracy: float, drawdown: float) -> Evaluation:
        return Evaluation(0, Standing(accuracy, 0.0, 0.0), Editability(1.0, drawdown, 1.0))

    training = training_of(digits_problem())
    training.evaluations = [measured(0.99, 0.0), measured(0.9, 0.05), measured(0.9, 0.02), measured(0.89, 0.0)]
    assert training.chosen is training.evaluations[2]  # the first is that before the training


def test_patience_ends_training_that_improves_nothing() -> None:
    training = trained(digits_problem(), epochs=30, patience=1, lr=1e-9)
    assert len(training.evaluations) == 2
    assert len(trained(digits_problem(), epochs=3, lr=1e-9).evaluations) == 4


@pytest.mark.parametrize("improves", ["error", "drawdown", None])
def test_patience_asks_for_either_error_or_drawdown(improves: str | None) -> None:
    training = training_of(digits_problem(), epochs=4, patience=1, lr=1e-9)
    measure, measured = training.probes.measure, iter(range(10))
    standing = training.measure

    def probes(editor: Any) -> Any:
        drawdown = -float(next(measured)) if improves == "drawdown" else 0.0
        return measure(editor)._replace(drawdown=drawdown)

    class Rising:
        def __call__(self, model: nn.Module) -> Any:
            found = standing(model)
            better = len(training.evaluations) / 10 if improves == "error" else 0.0
            return type(found)(better, found.negative_flip_rate, found.repair_rate)

    training.probes.measure = probes  # type: ignore[method-assign]
    training.measure = Rising()  # type: ignore[assignment]
    fitted(training)
    assert len(training.evaluations) == (2 if improves is None else 5)


def test_warns_with_the_estimated_duration_if_the_time_budget_is_smaller(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trained(digits_problem(), epochs=2, max_seconds=1e6)
        assert "max_seconds" not in caplog.text
        trained(digits_problem(), epochs=2, max_seconds=1e-3)
    assert caplog.text.count("over method.max_seconds=0.001") == 1


def test_a_loss_that_is_no_longer_finite_is_a_failure() -> None:
    training = training_of(digits_problem())
    batch = next(iter(training.train_dataloader()))
    with torch.no_grad():
        training.model.get_parameter("net.layers.5.bias").fill_(torch.nan)
    training.training_step(batch, 0)
    with pytest.raises(RepairFailed, match="finite"):
        training.score()
