import numpy as np
import pytest
import torch
from torch import nn

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.dense_chain import DenseChain


def chain(bias: bool = True) -> tuple[DenseChain, Split]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4, bias=bias), nn.ReLU(), nn.Linear(4, 3, bias=bias)).eval()
    return DenseChain.of(model, ["0", "2"]), Split("repair", torch.randn(7, 5), torch.zeros(7).long())


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_its_weight_times_what_enters(bias: bool) -> None:
    dense, split = chain(bias)
    with torch.no_grad():
        logits = dense.model(split.tensors().inputs).numpy()
    last = dense.layers[-1]
    assert last.weight.shape == (3, 4 + bias) and last.biased == bias
    np.testing.assert_allclose(last.entering(dense.values(-1, split)) @ last.weight.T, logits, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_a_change_is_added_to_the_weights_that_were_and_what_enters_is_computed_anew(bias: bool) -> None:
    dense, split = chain(bias)
    before = dense.values(1, split)
    assert dense.changes() == {}
    change = np.zeros_like(dense.layers[0].weight)
    change[2, -1] = 0.5
    dense.write(0, 7 * change)
    dense.write(0, change.ravel())  # in place of the first, not on top of it
    name = "0.bias" if bias else "0.weight"
    changes = dense.changes()
    assert list(changes) == [name]
    assert changes[name].flatten()[2 if bias else 14] == pytest.approx(0.5) and changes[name].count_nonzero() == 1
    moved = dense.values(1, split) - before
    assert moved[:, 2].any() and not np.delete(moved, 2, 1).any()


def test_more_than_one_vector_per_input_is_refused() -> None:
    model = nn.Sequential(nn.Linear(5, 4)).eval()
    with pytest.raises(NotApplicable, match="more than one vector"):
        DenseChain.of(model, ["0"]).values(0, Split("repair", torch.randn(7, 2, 5), torch.zeros(7).long()))
