"""The editor, against a plain loop that writes each step into a copy of the network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.models.lenet5 import LeNet5
from study.parts.training.editor import Editor, EditorSettings, Layout, RMSPropStep, in_eval_mode, shortfall
from study.runtime.randomness import stream
from study.storage.models import weights_hash
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits

INPUT = digits_splits()["repair"].tensors().inputs[3:4]
SCOPES = {"all": "all", "middle": ["layers.3"], "last": ["layers.5"]}


def editor_of(model: nn.Module, scope: Any = "all", example: Tensor = INPUT, **options: Any) -> Editor:
    decay, early_exit = options.pop("decay", torch.tensor(0.5)), options.pop("early_exit", True)
    editor = EditorSettings(scope, **{"steps": 5, "rate": 1e-2} | options).editor(model, example, decay)
    editor.early_exit = early_exit
    return editor


def ranked_class(model: nn.Module, rank: int = 1, inputs: Tensor = INPUT) -> Tensor:
    """The class that the model ranks at `rank` (0: the one it predicts)."""
    return model(inputs).argsort(1, descending=True)[:, rank].detach()


def by_hand(model: nn.Module, names: Sequence[str], labels: Tensor, steps: int, rate: float, beta: float) -> nn.Module:
    """The edited network, by RMSProp on a copy of it."""
    model = copy.deepcopy(model)
    squares: dict[str, Tensor] = {}
    for _ in range(steps):
        logits = model(INPUT)[0]
        others = torch.cat([logits[: labels[0]], logits[labels[0] + 1 :]])
        loss = others.max() - logits[labels[0]]
        if loss <= 0:
            break
        model.zero_grad()
        loss.backward()
        for name in names:
            parameter = model.get_parameter(name)
            assert parameter.grad is not None
            new = parameter.grad**2
            squares[name] = beta * squares[name] + (1 - beta) * new if name in squares else new
            parameter.data -= rate * parameter.grad / (squares[name] + 1e-6).sqrt()
    return model


def test_shortfall_is_how_far_the_target_class_is_from_winning() -> None:
    logits = torch.tensor([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0], [3.0, 3.0, 0.0]])
    assert shortfall(logits, torch.tensor([0, 1, 1])).tolist() == [3.0, 0.0, 0.0]
    assert shortfall(logits, torch.tensor([2, 1, 0]), margin=3.5).tolist() == [7.5, 0.5, 3.5]
    log_probabilities = logits.log_softmax(1)
    assert shortfall(log_probabilities, torch.tensor([0, 2, 2])).tolist() == pytest.approx([3.0, 4.0, 3.0])


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
@pytest.mark.parametrize("graph", [False, True], ids=["no_graph", "graph"])
def test_equals_rmsprop_on_a_copy(scope: str, batch_norm: bool, graph: bool) -> None:
    model = digits_problem(batch_norm).faulty
    if batch_norm:
        scope = "all"
    editor = editor_of(model, SCOPES[scope], decay=torch.tensor(0.3), steps=4, rate=3e-3)
    label = ranked_class(model, 4)
    edit = editor.edit(editor.features(INPUT), label, graph=graph)
    assert edit.steps >= 3
    expected = by_hand(model, list(edit.weights), label, 4, 3e-3, 0.3)
    for name, weight in edit.weights.items():
        torch.testing.assert_close(weight, expected.get_parameter(name), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(editor.logits(editor.features(INPUT), edit.weights), expected(INPUT))


def test_equals_rmsprop_on_a_network_that_cannot_be_traced() -> None:
    torch.manual_seed(0)
    model = Plain().eval()
    edit = editor_of(model, ["out"], steps=3, rate=1e-3).edit(INPUT, ranked_class(model, 5), graph=False)
    expected = by_hand(model, ["out.weight", "out.bias"], ranked_class(model, 5), 3, 1e-3, 0.5)
    assert edit.steps == 3
    torch.testing.assert_close(edit.weights["out.weight"], expected.out.weight)  # type: ignore[union-attr]


def test_a_channels_last_network_is_edited_in_its_own_layout() -> None:
    torch.manual_seed(0)
    model = LeNet5(input_shape=(3, 28, 28), num_classes=10).eval()
    images = torch.rand(1, 3, 28, 28, generator=stream(0, "images"))
    edit = editor_of(model, example=images).edit(images, ranked_class(model, 3, images), graph=False)
    assert edit.steps
    assert edit.weights["conv2.weight"].stride() == model.conv2.weight.stride()
    changed = copy.deepcopy(model)
    editor_of(changed, example=images).write(edit.weights)
    assert all(torch.equal(changed.get_parameter(name), weight) for name, weight in edit.weights.items())


def test_no_step_where_none_is_allowed_or_needed() -> None:
    model = digits_problem().faulty
    for options, rank in (({"steps": 0}, 3), ({"steps": 5}, 0)):
        editor = editor_of(model, **options)
        edit = editor.edit(editor.features(INPUT), ranked_class(model, rank), graph=False)
        assert edit.steps == 0
        assert all(torch.equal(weight, model.get_parameter(name)) for name, weight in edit.weights.items())
        assert bool(edit.success) == (rank == 0)
        assert (edit.loss.item() == 0) == (rank == 0)


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
def test_a_successful_edit_changes_the_answer_and_nothing_but_its_scope(batch_norm: bool) -> None:
    model = digits_problem(batch_norm).faulty
    before = weights_hash(model)
    editor = editor_of(model, ["layers.4" if batch_norm else "layers.3"], steps=20)
    label = ranked_class(model, 3)
    edit = editor.edit(editor.features(INPUT), label, graph=True)
    assert edit.success and edit.steps
    assert weights_hash(model) == before
    edited = copy.deepcopy(model)
    editor_of(edited, ["layers.4" if batch_norm else "layers.3"]).write(edit.weights)
    assert torch.equal(edited(INPUT).argmax(1), label)
    ours, theirs = edited.state_dict(), model.state_dict()
    changed = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    layer = 4 if batch_norm else 3
    assert changed == set(edit.weights) == {f"net.layers.{layer}.weight", f"net.layers.{layer}.bias"}


def test_the_first_step_is_alpha_long_where_there_is_a_gradient() -> None:
    model = digits_problem().faulty
    editor = editor_of(model, steps=1, rate=1e-3)
    label = ranked_class(model, 2)
    edit = editor.edit(editor.features(INPUT), label, graph=False)
    loss = shortfall(model(INPUT), label).mean()
    moved = {"far": 0, "not": 0}
    for name, gradient in zip(
        edit.weights, torch.autograd.grad(loss, [model.get_parameter(name) for name in edit.weights]), strict=True
    ):
        step = model.get_parameter(name) - edit.weights[name]
        assert (step.abs() <= 1e-3 + 1e-7).all()
        steep, flat = gradient.abs() > 0.1, gradient == 0
        torch.testing.assert_close(step[steep], 1e-3 * gradient[steep].sign(), atol=1e-6, rtol=0)
        assert not step[flat].any()
        moved["far"] += int(steep.sum())
        moved["not"] += int(flat.sum())
    assert min(moved.values()) > 10


def test_all_steps_without_a_look_equal_the_early_exit() -> None:
    model = digits_problem().faulty
    for rank in (0, 1, 3, 9):
        results = []
        for early_exit in (True, False):
            decay = torch.tensor(0.4, requires_grad=True)
            editor = editor_of(model, decay=decay, steps=8, rate=2e-2, early_exit=early_exit)
            edit = editor.edit(editor.features(INPUT), ranked_class(model, rank), graph=True)
            score = editor.logits(editor.features(INPUT), edit.weights).square().sum() + edit.loss
            wrt = [*model.parameters(), decay]
            results.append((edit, torch.autograd.grad(score, wrt, allow_unused=True)))
        (one, gradients), (other, others) = results
        assert int(one.steps) == int(other.steps) < 8
        for name, weight in one.weights.items():
            torch.testing.assert_close(weight, other.weights[name], atol=1e-6, rtol=0)
        for ours, theirs in zip(gradients[:-1], others[:-1], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_without_second_order_the_steps_count_as_constant() -> None:
    model = digits_problem().faulty
    editor = editor_of(model, steps=1, second_order=False)
    edit = editor.edit(editor.features(INPUT), ranked_class(model, 4), graph=True)
    chosen = edit.weights["net.layers.5.bias"].sum()
    (gradient,) = torch.autograd.grad(chosen, model.get_parameter("net.layers.5.bias"), retain_graph=True)
    assert torch.equal(gradient, torch.ones(10))
    (elsewhere,) = torch.autograd.grad(chosen, model.get_parameter("net.layers.1.weight"))
    assert not elsewhere.any()


def test_beta_is_used_within_its_bounds_and_its_gradient_passes() -> None:
    model, weights = digits_problem().faulty, []
    for value in (1.0, 1.7):
        decay = torch.tensor(value, requires_grad=True)
        editor = editor_of(model, decay=decay, steps=3, rate=1e-3)
        edit = editor.edit(editor.features(INPUT), ranked_class(model, 5), graph=True)
        weights.append(edit.weights["net.layers.3.weight"])
        (gradient,) = torch.autograd.grad(edit.loss, decay)
        assert gradient != 0
    assert torch.equal(*weights)


def test_eval_mode_holds_inside_and_each_modules_mode_is_restored() -> None:
    model = digits_problem(batch_norm=True).copy().train()
    frozen = model.get_submodule("net.layers.2").eval()
    with in_eval_mode(model):
        assert not any(module.training for module in model.modules())
    assert model.training and not frozen.training


@pytest.mark.parametrize("channels", [1, 3])
def test_a_channels_last_convolution_stays_channels_last(channels: int) -> None:
    weight = nn.Conv2d(channels, 6, 5).to(memory_format=torch.channels_last).weight  # type: ignore[call-overload]
    layout = Layout.of("weight", weight)
    shaped = layout.shaped(layout.flat())
    assert torch.equal(shaped, weight)
    assert shaped.stride() == weight.stride()


@pytest.mark.parametrize("first", [True, False])
def test_the_gradient_of_a_step_is_that_of_its_operations(first: bool) -> None:
    random = torch.Generator().manual_seed(0)
    values = [torch.randn(6, generator=random, dtype=torch.float64).requires_grad_() for _ in range(3)]
    decay = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def step(flat: Tensor, gradient: Tensor, root: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        done: tuple[Tensor, Tensor] = RMSPropStep.apply(flat, gradient, None if first else root * root, beta, 0.1)
        return done

    assert torch.autograd.gradcheck(step, (*values, decay))


@pytest.mark.parametrize("earlier", [False, True], ids=["second", "third"])
def test_a_mean_of_squares_computed_again_has_the_gradient_of_one_that_is_held(earlier: bool) -> None:
    random = torch.Generator().manual_seed(0)
    mean_square = torch.rand(50, generator=random) if earlier else None
    results = []
    for source_is_given in (False, True):
        gradients = [torch.randn(50, generator=random.manual_seed(step)).requires_grad_() for step in (1, 2)]
        flat, decay = torch.zeros(50), torch.tensor(0.3, requires_grad=True)
        flat, after = RMSPropStep.apply(flat, gradients[0], mean_square, decay, 0.1)
        source = (mean_square, gradients[0]) if source_is_given else ()
        flat, last = RMSPropStep.apply(flat, gradients[1], after, decay, 0.1, source)
        weights = torch.rand(50, generator=random.manual_seed(3))
        results.append(torch.autograd.grad((weights * flat + last.square()).sum(), [*gradients, decay]))
    assert all(gradient.any() for gradient in results[0])
    assert all(torch.equal(held, again) for held, again in zip(*results, strict=True))


def test_the_graph_of_an_edit_holds_two_and_a_half_vectors_of_each_step() -> None:
    """Gradient, weights and every second mean of squares: a network of S edited bytes takes some 2.5 K S."""
    model = nn.Sequential(nn.Linear(300, 300), nn.Tanh(), nn.Linear(300, 2)).eval()
    size = sum(parameter.numel() for parameter in model.parameters())
    settings = EditorSettings("all", steps=4, rate=1e-6, margin=100.0)
    editor = settings.editor(model, torch.zeros(1, 300), torch.tensor(0.5, requires_grad=True))
    held = dict[int, int]()

    def hold(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        edit = editor.edit(
            torch.randn(1, 300, generator=torch.Generator().manual_seed(0)), torch.tensor([1]), graph=True
        )
    assert edit.steps == 4
    assert 2 * 4 * size < sum(held[storage] for storage in held.keys() - own) < 2.5 * 4 * size
