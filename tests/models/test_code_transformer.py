"""The transformer for program text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from study.models.code_transformer import CodeTransformer

SIZE = {"num_tokens": 30, "num_classes": 3, "length": 12, "width": 8, "heads": 2}


def network(**settings: Any) -> CodeTransformer:
    torch.manual_seed(0)
    return CodeTransformer(**(SIZE | settings)).eval()


def sequences(count: int = 4) -> Tensor:
    return torch.randint(1, 30, (count, 12), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pooling", ["mean", "max", "first"])
@pytest.mark.parametrize("layers", [0, 2])
def test_padding_changes_nothing(pooling: str, layers: int) -> None:
    net, tokens = network(pooling=pooling, layers=layers), sequences()
    tokens[:, 7:] = 0
    expected = net(tokens)
    with torch.no_grad():
        net.embedding.weight[0] = 100.0
        net.positions[7:] = -50.0
    assert torch.allclose(net(tokens), expected, atol=1e-5)
    assert net(torch.zeros(2, 12, dtype=torch.int64)).isfinite().all()


def test_order_counts_and_neighbours_are_mixed() -> None:
    tokens = sequences()
    turned = tokens.flip(1)
    for settings in ({"layers": 1, "neighbours": 1}, {"layers": 0, "neighbours": 3}):
        net = network(**settings)
        assert not torch.allclose(net(tokens), net(turned), atol=1e-4)
        torch.nn.init.zeros_(net.positions)
        alike = torch.allclose(net(tokens), net(turned), atol=1e-5)
        assert alike == (settings["neighbours"] == 1), "without positions attention sees no order, a convolution does"


def test_attention_reaches_from_the_last_token_to_the_first() -> None:
    tokens = sequences()
    changed = tokens.clone()
    changed[:, -1] = tokens[:, -1] % 29 + 1
    near, far = network(layers=0, pooling="first"), network(layers=1, pooling="first")
    assert torch.equal(near(tokens), near(changed))
    assert not torch.allclose(far(tokens), far(changed), atol=1e-6)


def test_dropout_is_off_when_it_is_evaluated() -> None:
    net, tokens = network(dropout=0.5), sequences()
    assert torch.equal(net(tokens), net(tokens))
    net.train()
    assert not torch.equal(net(tokens), net(tokens))


def test_it_learns_who_comes_first() -> None:
    """Whether token 1 stands before token 2: the kind of thing that swapped operands are."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 30, (400, 12), generator=generator)
    labels = torch.randint(0, 2, (400,), generator=generator)
    places = torch.randint(0, 11, (400,), generator=generator)
    rows = torch.arange(400)
    tokens[rows, places], tokens[rows, places + 1] = 1 + labels, 2 - labels
    net = network(num_classes=2, width=16).train()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(12):
        for batch in rows[:300].split(50):
            loss = torch.nn.functional.cross_entropy(net(tokens[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert (net.eval()(tokens[300:]).argmax(1) == labels[300:]).double().mean() > 0.9


@pytest.mark.parametrize("settings", [{"heads": 3}, {"neighbours": 4}, {"pooling": "last"}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        network(**settings)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_sequence_filled_up_is_read_like_the_short_one(pooling: str) -> None:
    """Padding is not attended to: with it attention would be spread over more tokens."""
    long, short = network(pooling=pooling), network(pooling=pooling, length=7)
    short.load_state_dict(long.state_dict() | {"positions": long.positions[:7]})
    tokens = sequences()
    tokens[:, 7:] = 0
    assert torch.allclose(long(tokens), short(tokens[:, :7]), atol=1e-5)
