import torch
from torch import nn

from study.parts.localisation.chance import random_entries


def test_it_draws_distinct_weights_of_all_layers_and_no_bias() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5))
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(32)
    for _ in range(500):
        places = random_entries(model, ["0", "2"], 8, generator)
        assert len(places) == 8 and set(places.names) <= {"0.weight", "2.weight"}
        for name, mine in places.by_parameter():
            assert len(places.index[mine].unique()) == len(mine)
            counts[places.index[mine] + (0 if name == "0.weight" else 12)] += 1
    assert counts.min() > 80 and counts.max() < 170  # 125 each
    assert len(random_entries(model, ["2"], 100, generator)) == 20
