import pytest
import torch
from torch import Tensor

from study.parts.network.dense_data import DenseData
from study.parts.solvers.row_changes import RowChange, add_changes, answering, changed_entries, held, switching


def layer(seed: int = 0) -> tuple[DenseData, Tensor]:
    """Five outputs of eight inputs on 30 items; the first six are targets of class 2, the others right."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(30, 8, generator=generator, dtype=torch.float64)
    weight = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    outputs = inputs @ weight.T
    labels = outputs.argmax(1)
    wrong = labels != 2
    order = torch.cat([wrong.nonzero()[:6, 0], wrong.nonzero()[6:, 0], (~wrong).nonzero()[:, 0]])
    inputs, outputs, labels = inputs[order], outputs[order], labels[order]
    labels[:6] = 2
    return DenseData(inputs, outputs, labels, weight), torch.arange(30) < 6


@pytest.mark.parametrize("seed", [0, 5])  # whose passing inputs are of class 2 alone, and of all classes
def test_a_class_row_is_asked_for_each_pair_and_each_passing_input(seed: int) -> None:
    data, targets = layer(seed)
    wish = answering(2, data, targets)
    step = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    weight = data.weight.clone()
    weight[2] += step
    outputs = data.inputs @ weight.T
    pairs = [(outputs[i, 2] - outputs[i, j]).item() for i in range(6) for j in range(5) if j != 2]
    torch.testing.assert_close(torch.from_numpy(wish.soft.at(step.numpy())), torch.tensor(pairs).double())
    margins = []
    for item in range(6, 30):
        true = int(data.labels[item])
        rivals = [j for j in range(5) if j != true] if true == 2 else [2]
        margins.append(min((outputs[item, true] - outputs[item, j]).item() for j in rivals))
    torch.testing.assert_close(torch.from_numpy(wish.hard.at(step.numpy())), torch.tensor(margins).double())
    assert (wish.hard.offsets >= 0).all()
    products = torch.stack([(data.inputs[i] * data.weight[2]).abs() for i in range(6)]).mean(0)
    torch.testing.assert_close(wish.scores, products)


def test_a_unit_is_switched_for_targets_and_kept_for_the_others() -> None:
    data, targets = layer(1)
    for on in (True, False):
        wish = switching(3, on, data, targets)
        step = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
        moved = data.outputs[:, 3] + data.inputs @ step
        torch.testing.assert_close(torch.from_numpy(wish.soft.at(step.numpy())), moved[:6] * (1 if on else -1))
        signs = torch.where(data.outputs[6:, 3] > 0, 1.0, -1.0)
        torch.testing.assert_close(torch.from_numpy(wish.hard.at(step.numpy())), moved[6:] * signs)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_solved_change_breaks_no_passing_input_and_stays_in_its_places(seed: int) -> None:
    data, targets = layer(seed)
    wish = answering(2, data, targets)
    columns = wish.suspicious(4)
    assert set(columns.tolist()) == set(wish.scores.topk(4).indices.tolist())
    program = wish.among(columns, bound=0.5, eps=1e-3)
    change = RowChange.of(wish.row, columns, program, program.solution())
    assert change.after > change.before and change.values.abs().max() < 0.5
    weight = data.weight.clone()
    add_changes(weight, [change])
    entries = changed_entries("out", [change], 8)
    assert set((weight != data.weight).flatten().nonzero().flatten().tolist()) <= set(entries.index.tolist())
    outputs = data.inputs @ weight.T
    assert torch.equal(outputs[6:].argmax(1), data.labels[6:])
    assert held([change, change]) == {"wanted": 48, "held_before": 2 * change.before, "held_after": 2 * change.after}


def test_random_places_and_shares() -> None:
    data, targets = layer()
    wish = answering(2, data, targets)
    drawn = [wish.suspicious(4, torch.Generator().manual_seed(seed)).tolist() for seed in range(9)]
    assert len({tuple(columns) for columns in drawn}) > 3 and all(columns == sorted(columns) for columns in drawn)
    weight = torch.zeros(5, 8)
    change = RowChange(1, torch.tensor([0, 3]), torch.tensor([1.0, -2.0]).double(), 0, 0, 0, 0)
    add_changes(weight, [change, change], 0.25)
    assert weight[1].tolist() == [0.5, 0, 0, -1.0, 0, 0, 0, 0] and not weight[[0, 2, 3, 4]].any()
