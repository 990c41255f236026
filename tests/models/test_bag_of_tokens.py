"""The mean of embeddings, classified."""

from __future__ import annotations

import torch

from study.models.bag_of_tokens import BagOfTokens
from study.runtime.randomness import forked


def network(padding: int | None = 0) -> BagOfTokens:
    with forked(0, "init"):
        return BagOfTokens(num_tokens=9, num_classes=3, padding=padding, width=4, widths=[5]).eval()


def test_the_order_of_tokens_and_padding_do_not_matter() -> None:
    net = network()
    short, filled = torch.tensor([[3, 5]]), torch.tensor([[5, 3, 0, 0]])
    assert net(short).shape == (1, 3)
    assert torch.allclose(net(short), net(filled))
    assert not torch.allclose(net(short), net(torch.tensor([[5, 4, 0, 0]])))
    assert not torch.allclose(network(None)(short), network(None)(filled))


def test_a_sequence_of_padding_alone_has_a_finite_answer() -> None:
    assert network()(torch.zeros(2, 4, dtype=torch.int64)).isfinite().all()


def test_the_hidden_layers_are_those_asked_for() -> None:
    shapes = [tuple(parameter.shape) for parameter in network().parameters()]
    assert shapes == [(9, 4), (5, 4), (5,), (3, 5), (3,)]
