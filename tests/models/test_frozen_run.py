from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from study.models.frozen_run import FrozenRun
from study.models.max_pooling import MaxPooling, picked
from tests.subjects import subject


def at_itself(model: nn.Module, layer: str, inputs: Tensor) -> tuple[FrozenRun, list[Tensor], Tensor, list[Tensor]]:
    run = FrozenRun(model, layer)
    with torch.no_grad():
        entering = run.entering(inputs)
        output = model.get_submodule(layer)(entering[0])
        return run, entering, output, run.choices(entering, output)


@pytest.mark.parametrize(
    ("name", "layer", "signs"),
    [
        ("lenet5", "net.fc1", 120 + 84),
        ("lenet5", "net.fc2", 84),
        ("lenet5", "net.conv2", 16 * 7 * 7 + 16 * 3 * 3 * 4 + 120 + 84),
        ("resnet18", "net.layer4.1.conv2", 64 * 16),
    ],
)
def test_of_a_network_as_it_is_no_slack_is_negative(name: str, layer: str, signs: int) -> None:
    problem = subject(name)
    inputs = problem.repair_set.tensors().inputs[:10]
    run, entering, output, choices = at_itself(problem.faulty, layer, inputs)
    with torch.no_grad():
        frozen = run.frozen(entering, output, choices)
    assert frozen.slacks.shape == (10, signs)
    assert float(frozen.slacks.min()) >= 0
    assert torch.equal(frozen.logits, problem.faulty(inputs))


def test_a_slack_falls_below_zero_where_a_choice_would_be_another_one() -> None:
    problem = subject("lenet5")
    inputs = problem.repair_set.tensors().inputs[:10]
    run, entering, output, choices = at_itself(problem.faulty, "net.conv2", inputs)
    other = output + 0.3 * output.std() * torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        frozen = run.frozen(entering, other, choices)
        same = [
            (now == then).flatten(1).all(1) for now, then in zip(run.choices(entering, other), choices, strict=True)
        ]
    switched = ~torch.stack(same).all(0)
    assert switched.any()
    assert torch.equal(frozen.slacks.min(1).values < 0, switched)


def test_offsets_are_added_to_the_outputs_of_later_layers() -> None:
    problem = subject("lenet5")
    inputs = problem.repair_set.tensors().inputs[:5]
    run, entering, output, choices = at_itself(problem.faulty, "net.conv1", inputs)
    assert run.later == ["net.conv2", "net.fc1", "net.fc2", "net.fc3"]
    offsets = {name: torch.full_like(problem.faulty.get_parameter(f"{name}.bias"), 1e-4) for name in run.later}
    with torch.no_grad():
        frozen = run.frozen(entering, output, choices, offsets)
        model = problem.copy()
        for name, offset in offsets.items():
            model.get_parameter(f"{name}.bias").add_(offset)
        torch.testing.assert_close(frozen.logits, model(inputs), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(frozen.logits, problem.faulty(inputs), rtol=1e-5, atol=1e-6)


POOLS = [
    (2, 2, 0, 1, False),
    (3, 2, 1, 1, False),
    (3, 2, 0, 1, True),
    (2, 1, 0, 2, False),
    ((3, 2), (2, 1), (1, 0), 1, False),
]


@pytest.mark.parametrize("arguments", POOLS)
def test_a_window_holds_what_its_maximum_is_taken_of(arguments: Sequence[object]) -> None:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    module = nn.MaxPool2d(**dict(zip(names, arguments, strict=True)))  # type: ignore[arg-type]
    pooling = MaxPooling.of(module)
    entered = torch.randn(2, 3, 8, 7, generator=torch.Generator().manual_seed(0))
    indices = pooling.indices(entered)
    expected = module(entered)
    assert torch.equal(picked(entered, indices), expected)
    windows, inside = pooling.windows(entered, indices.shape[2:])
    largest = windows.masked_fill(~inside, -torch.inf).amax(2)
    assert torch.equal(largest.view_as(expected), expected)
