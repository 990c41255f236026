import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.places import Columns, Entries, Layers, Places, write
from study.parts.search import patches as patched
from study.parts.search.patches import ColumnPatches, LastLayerPatches, Scores, TailPatches, patches
from study.problem.problem import Problem
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits

LAST, HIDDEN, FIRST = "net.layers.5", "net.layers.3", "net.layers.1"


class Residual(nn.Module):
    """A connection passes the second layer by, so that the network can be cut before the first only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.out = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        features = torch.relu(self.norm(self.conv(inputs)))
        logits: Tensor = self.out((features + self.inner(features)).flatten(1))
        return logits


def places_of(layers: dict[str, list[int]], kind: str = "weight") -> Entries:
    owner = [number for number, indices in enumerate(layers.values()) for _ in indices]
    index = torch.tensor([i for indices in layers.values() for i in indices])
    return Entries(tuple(f"{layer}.{kind}" for layer in layers), torch.tensor(owner), index)


def full_pass(model: nn.Module, places: Places, values: Tensor, inputs: Tensor, labels: Tensor) -> Scores:
    """Every patch written into a copy of the model, which is then run whole."""
    right, loss = [], []
    for row in values:
        one = copy.deepcopy(model)
        write(one, places, row)
        with torch.no_grad():
            logits = one(inputs)
        right.append(logits.argmax(1) == labels)
        loss.append(functional.cross_entropy(logits, labels, reduction="none"))
    return Scores(torch.stack(right), torch.stack(loss))


def agree(model: nn.Module, places: Places, kind: type) -> None:
    split, indices = digits_splits()["repair"], torch.arange(5, 90)
    noise = torch.randn(6, len(places), generator=torch.Generator().manual_seed(0))
    values = places.values(model) + noise
    evaluation = patches(model, places, split, indices)
    assert type(evaluation) is kind
    expected = full_pass(model, places, values, split.inputs[indices], split.labels[indices])
    found = evaluation.scores(values)
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-4, rtol=1e-4)
    assert torch.equal(found.right, expected.right)
    assert 0 < found.right.double().mean() < 1
    some = evaluation.scores(values[:2], slice(10, 40))
    torch.testing.assert_close(some.loss, expected.loss[:2, 10:40], atol=1e-4, rtol=1e-4)


@pytest.fixture(params=[False, True], ids=["plain", "batch_norm"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return digits_problem(batch_norm=request.param)


def names_of(problem: Problem) -> list[str]:
    return [name for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("indices", [[7], [3, 35, 36, 300], list(range(0, 320, 16))], ids=["one", "few", "all_columns"])
def test_last_layer_patches_equal_a_full_pass(problem: Problem, indices: list[int]) -> None:
    agree(problem.faulty, places_of({names_of(problem)[-1]: indices}), LastLayerPatches)


def test_patches_of_several_layers_equal_a_full_pass(problem: Problem) -> None:
    first, hidden, last = names_of(problem)
    agree(problem.faulty, places_of({hidden: [4, 90]}), TailPatches)
    agree(problem.faulty, places_of({first: [70, 71], last: [5, 90, 200]}), TailPatches)


def test_patches_around_a_residual_connection_equal_a_full_pass() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Residual().eval()
    agree(model, places_of({"inner": [3, 77]}), TailPatches)
    agree(model, places_of({"conv": [3], "inner": [3, 77], "out": [8]}), TailPatches)


def test_a_model_that_cannot_be_traced_takes_patches_of_its_output_layer() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Plain().eval()
    agree(model, places_of({"out": [3, 40, 41]}), LastLayerPatches)
    with pytest.raises(NotApplicable, match="traced"):
        patches(model, places_of({"hidden": [3]}), digits_splits()["repair"], torch.arange(5))


def test_chunks_do_not_change_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = digits_problem()
    for places in (places_of({LAST: [3, 40]}), places_of({HIDDEN: [3, 40]}), Columns(HIDDEN, torch.tensor([3, 4]))):
        evaluation = patches(problem.faulty, places, problem.repair_set, torch.arange(100))
        values = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
        whole = evaluation.scores(values)
        for elements in (1, 1000, 64 * 230):
            monkeypatch.setattr(patched, "block_size", lambda _, size=elements: size)
            torch.testing.assert_close(evaluation.scores(values), whole)
        monkeypatch.undo()


def test_patches_of_biases_and_layers_equal_a_full_pass(problem: Problem) -> None:
    _, hidden, last = names_of(problem)
    agree(problem.faulty, places_of({last: [0, 7]}, "bias"), LastLayerPatches)
    both = Entries((f"{last}.weight", f"{last}.bias"), torch.tensor([0, 1, 0]), torch.tensor([40, 3, 99]))
    agree(problem.faulty, both, LastLayerPatches)
    agree(problem.faulty, places_of({hidden: [3]}, "bias"), TailPatches)
    agree(problem.faulty, Layers.of(problem.faulty, [f"{hidden}.bias", f"{last}.weight"]), TailPatches)


def test_patches_of_columns_equal_a_full_pass(problem: Problem) -> None:
    first, hidden, last = names_of(problem)
    agree(problem.faulty, Columns(last, torch.tensor([2, 30])), ColumnPatches)
    agree(problem.faulty, Columns(hidden, torch.tensor([5, 0, 40])), ColumnPatches)
    agree(problem.faulty, Columns(first, torch.arange(20, 40)), ColumnPatches)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        residual, untraceable = Residual().eval(), Plain().eval()
    agree(residual, Columns("out", torch.tensor([3, 8])), ColumnPatches)
    agree(untraceable, Columns("out", torch.tensor([3, 8])), ColumnPatches)


def test_columns_of_a_layer_that_a_connection_passes_by_equal_a_full_pass() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.out = nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, inputs: Tensor) -> Tensor:
            features = inputs.flatten(1)
            logits: Tensor = self.out(features + torch.relu(self.inner(features)))
            return logits

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Dense().eval()
    agree(model, Columns("inner", torch.tensor([20, 36])), TailPatches)


def test_a_tie_with_another_class_is_no_right_answer() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False)).eval()
    model[1].weight.data[:] = 1.0  # both logits are the input
    split = Split("repair", torch.ones(2, 1), torch.tensor([0, 1]))
    places = Entries(("1.weight",), torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))
    scores = patches(model, places, split, torch.arange(2)).scores(torch.tensor([[0.9], [1.0], [1.1]]))
    assert scores.right.tolist() == [[False, True], [False, False], [True, False]]
