from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from study.errors import NotApplicable
from study.parts.network.folding import folded_layers
from study.runtime.randomness import forked


def chain(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules).double().eval()


def vectors(count: int) -> Tensor:
    return torch.rand(count, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.3


def test_a_batch_norm_of_the_head_is_folded_into_a_linear_layer() -> None:
    norms = [nn.BatchNorm1d(5), nn.BatchNorm1d(5), nn.BatchNorm1d(3, affine=False)]
    with forked(0, "init"):
        net = chain(nn.Linear(4, 5), norms[0], nn.ReLU(), norms[1], nn.Dropout(), nn.Linear(5, 3, bias=False), norms[2])
        for norm in norms:
            for tensor in (norm.running_mean, norm.running_var, *norm.parameters()):
                nn.init.uniform_(tensor, 0.5, 2)  # type: ignore[arg-type]
    values = vectors(7)
    expected = net(values)
    layers = folded_layers(list(net))
    assert [tuple(layer.weight.shape) for layer in layers] == [(5, 4), (3, 5)]
    for layer in layers:
        assert not layer.weight.requires_grad and not layer.bias.requires_grad
        values = layer(values)
    torch.testing.assert_close(values, expected)


def test_without_batch_norm_a_layer_is_its_module_and_the_activations_after_it() -> None:
    with forked(0, "init"):
        net = chain(nn.Linear(4, 5), nn.LeakyReLU(0.3), nn.ReLU(), nn.Identity(), nn.Linear(5, 3))
    first, last = folded_layers(list(net))
    assert first.weight.data_ptr() == net[0].weight.data_ptr() and torch.equal(last.bias, net[4].bias)
    assert [type(module) for module in first.activation] == [nn.LeakyReLU, nn.ReLU] and len(last.activation) == 0
    torch.testing.assert_close(first(vectors(5)), net[:3](vectors(5)))
    torch.testing.assert_close(last(first(vectors(5))), net(vectors(5)))


def test_a_batch_norm_without_running_statistics_cannot_be_folded() -> None:
    with pytest.raises(NotApplicable, match="no running statistics"):
        folded_layers([nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 3)])
