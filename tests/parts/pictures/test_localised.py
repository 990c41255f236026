import torch
from torch import nn

from study.parts.network.places import Entries
from study.parts.pictures.localised import draw_localised


def test_each_layer_has_a_bar_with_its_share() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    places = Entries(("0.weight", "2.weight"), torch.tensor([0, 1, 1]), torch.tensor([0, 3, 5]))
    (axes,) = draw_localised(model, places).axes
    assert [bar.get_width() for bar in axes.patches] == [1, 2]  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.weight", "2.weight"]
    assert {text.get_text() for text in axes.texts} == {"1 of 12", "2 of 8"}
