from __future__ import annotations

import pytest
import torch
from torch import nn

from study.parts.pictures.routing import draw_routing
from study.parts.training.validation_flips import Candidates, Flips, Rule


def test_the_pictures_show_votes_masks_and_states() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    votes = {"1": torch.tensor([[2, 0], [1, 0]]), "0": torch.tensor([[0, 0, 3], [1, 0, 0]])}
    candidates = Candidates(Rule("score", 2.0, 0.1, 0.1, False), 0.9)
    for flips in (Flips(0.9, 0.1, 0.02), Flips(0.9, 0.3, 0.05)):
        candidates.offer(flips, model)
    figures = draw_routing(model, votes, {name: given > 1 for name, given in votes.items()}, candidates)
    assert set(figures) == {"votes", "localised_weights", "score"}
    assert [axes.get_title(loc="left")[:1] for axes in figures["votes"].axes] == ["1", "0"]
    first = figures["votes"].axes[0].lines
    assert list(first[0].get_ydata()) == [2, 1, 0, 0] and list(first[1].get_ydata()) == [2]
    assert list(figures["score"].axes[0].lines[0].get_ydata()) == pytest.approx([0.06, 0.2])
    bars = figures["localised_weights"].axes[0]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["0.weight", "1.weight"]
    assert [bar.get_width() for bar in bars.patches] == [1, 1]
