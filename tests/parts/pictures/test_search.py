import torch
from torch import nn

from study.parts.network.places import Entries
from study.parts.pictures.search import draw_search


def test_it_shows_the_places_and_the_curve() -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    places = Entries(("0.weight",), torch.tensor([0, 0]), torch.tensor([1, 5]))
    pictures = draw_search(model, places, [1.0, 2.0, 2.5], 1.5)
    assert set(pictures) == {"localised_weights", "fitness"}
    assert pictures["localised_weights"].axes[0].texts[0].get_text() == "2 of 12"
    assert list(pictures["fitness"].axes[0].lines[0].get_ydata()) == [1.0, 2.0, 2.5]  # type: ignore[arg-type]
