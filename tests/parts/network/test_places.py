from __future__ import annotations

import torch
from torch import nn

from study.parts.network.places import Columns, Entries, Layers, write
from tests.problems import digits_problem

LAST, HIDDEN, FIRST = "net.layers.5", "net.layers.3", "net.layers.1"


def test_places_are_found_in_the_pooled_weights_and_written_back() -> None:
    problem = digits_problem()
    sizes = [64 * 64, 32 * 64, 10 * 32]
    positions = torch.tensor([sizes[0] + sizes[1] + 9, 5, sizes[0] - 1])
    places = Entries.pooled(problem.faulty, [FIRST, HIDDEN, LAST], positions)
    assert places.names == (f"{FIRST}.weight", f"{LAST}.weight")
    assert places.owner.tolist() == [1, 0, 0] and places.index.tolist() == [9, 5, sizes[0] - 1]
    model = problem.copy()
    write(model, places, torch.tensor([1.0, 2.0, 3.0]))
    assert places.values(model).tolist() == [1.0, 2.0, 3.0]
    changed = {
        name: int((tensor != problem.faulty.state_dict()[name]).sum()) for name, tensor in model.state_dict().items()
    }
    assert {name: count for name, count in changed.items() if count} == {f"{FIRST}.weight": 2, f"{LAST}.weight": 1}


def test_index_counts_row_by_row_whatever_the_memory_format() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 2)).to(memory_format=torch.channels_last)
    places = Entries(("0.weight",), torch.tensor([0]), torch.tensor([9]))
    assert places.values(model)[0] == model[0].weight[1, 0, 0, 1]
    write(model, places, torch.tensor([5.0]))
    assert model[0].weight[1, 0, 0, 1] == 5
    assert places.stacked(model, torch.tensor([[7.0]]))["0.weight"][0, 1, 0, 0, 1] == 7


def test_columns_scale_what_a_neuron_sends_on() -> None:
    model = digits_problem().copy()
    before = model.get_submodule(LAST).weight.detach().clone()
    columns = Columns(LAST, torch.tensor([3, 8]))
    write(model, columns, columns.values(model))
    assert torch.equal(model.get_submodule(LAST).weight, before)
    write(model, columns, torch.tensor([2.0, 0.0]))
    after = model.get_submodule(LAST).weight
    assert torch.equal(after[:, 3], 2 * before[:, 3]) and not after[:, 8].any()
    others = [place for place in range(32) if place not in (3, 8)]
    assert torch.equal(after[:, others], before[:, others])


def test_biases_and_whole_layers_are_written_back() -> None:
    model = digits_problem().copy()
    biases = Entries.pooled(model, [FIRST, LAST], torch.tensor([2, 64 + 9]), "bias")
    assert biases.names == (f"{FIRST}.bias", f"{LAST}.bias") and biases.index.tolist() == [2, 9]
    write(model, biases, torch.tensor([5.0, 6.0]))
    assert model.get_submodule(FIRST).bias[2] == 5 and model.get_submodule(LAST).bias[9] == 6
    layers = Layers.of(model, [f"{LAST}.weight", f"{LAST}.bias"])
    assert len(layers) == 330 and layers.values(model)[-1] == 6
    write(model, layers, torch.arange(330.0))
    assert torch.equal(layers.values(model), torch.arange(330.0))


def test_the_entries_of_columns_are_their_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    entries = Columns("0", torch.tensor([3, 1])).entries(model)
    assert torch.equal(entries.values(model), model[0].weight[:, [3, 1]].flatten())
