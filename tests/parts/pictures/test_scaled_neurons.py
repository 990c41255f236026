import torch
from torch import nn

from study.parts.network.places import Columns
from study.parts.pictures.scaled_neurons import draw_scaled
from study.parts.search.scaled_neurons import ScaledNeurons, fittest


def found(layer: str, fitness: float) -> ScaledNeurons:
    rounds = [torch.tensor(value) for value in (-0.4, -0.3, fitness)]
    return ScaledNeurons(Columns(layer, torch.tensor([2, 0])), torch.ones(2), rounds[-1], torch.rand(4), rounds)


def test_the_scores_of_all_layers_and_the_search_of_the_best_are_drawn() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    both = [found("0", -0.2), found("1", -0.1)]
    best = fittest(both)
    assert best is both[1]
    figures = draw_scaled(model, both, best, "effect")
    assert [axes.get_title(loc="left").split(":")[0] for axes in figures["neuron_scores"].axes] == ["0", "1"]
    assert [label.get_text() for label in figures["localised_weights"].axes[0].get_yticklabels()] == ["1.weight"]
    line = figures["fitness"].axes[0].lines[0].get_ydata()
    assert torch.tensor(line).tolist() == torch.tensor([-0.4, -0.3, -0.1]).tolist()


def test_of_equals_the_first_is_the_fittest() -> None:
    both = [found("0", -0.2), found("1", -0.2)]
    assert fittest(both) is both[0]
