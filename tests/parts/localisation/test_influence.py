import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.localisation.influence import (
    InfluenceEstimator,
    Influences,
    free_edges,
    free_nodes,
    influenced_parameters,
    lead,
)
from study.parts.network.places import Layers
from tests.networks import TinyNet


@pytest.fixture
def case() -> tuple[nn.Module, Split, Tensor, Tensor]:
    """A small convolutional network with BatchNorm, 40 items, general and specific ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TinyNet(input_shape=(1, 8, 8), num_classes=4).eval()
        inputs = torch.rand(40, 1, 8, 8)
    labels = model(inputs).argmax(1)
    labels[25:36] = (labels[25:36] + 1) % 4
    return model, Split("repair", inputs, labels), torch.arange(20), torch.arange(25, 40)


def separately(model: nn.Module, split: Split, general: Tensor, specific: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three gradients by a pass each, as the authors' code takes them."""
    model = copy.deepcopy(model)
    parameters = [model.get_parameter(name) for name in influenced_parameters(model)]

    def gradient(value: Tensor) -> Tensor:
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(value, parameters)])

    g, s = split.fetch(general), split.fetch(specific)
    logits = model(s.inputs)
    wrong = (logits.gather(1, s.labels[:, None])[:, 0] - logits.amax(1)) != 0
    both = torch.cat([g.inputs, s.inputs]), torch.cat([g.labels, s.labels])
    return (
        gradient(functional.cross_entropy(model(s.inputs[wrong]), s.labels[wrong])),
        gradient(model(g.inputs).abs().sum() / len(g.inputs)),
        gradient(functional.cross_entropy(model(both[0]), both[1])),
    )


@pytest.mark.parametrize("micro_batch", [1000, 7, 1])
def test_the_fused_gradients_are_those_of_separate_passes(
    case: tuple[nn.Module, Split, Tensor, Tensor], micro_batch: int
) -> None:
    model, split, general, specific = case
    expected = separately(*case)
    found = InfluenceEstimator(model, influenced_parameters(model), split, general, specific, micro_batch=micro_batch)()
    for ours, theirs in zip((found.specific, found.general, found.joint), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert found.counts() == (11, 20, True) and found.remaining.tolist() == [True] * 11 + [False] * 4
    assert not model.training and int(model.features[1].num_batches_tracked) == 0


def test_all_of_linear_convolution_and_batch_norm_is_influenced(case: tuple[nn.Module, Split, Tensor, Tensor]) -> None:
    model = case[0]
    assert influenced_parameters(model) == [name for name, _ in model.named_parameters()]
    assert influenced_parameters(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2, bias=False))) == ["1.weight"]


def influences(specific: list[float], general: list[float]) -> Influences:
    one = torch.tensor(specific)
    return Influences(one, torch.tensor(general), one, one.sum(), torch.ones(1) > 0, torch.tensor(1))


def test_free_is_what_influences_the_errors_more() -> None:
    found = influences([3.0, -3.0, 1.0, 0.0, 1e-3], [1.0, -4.0, -1.0, 0.0, 0.0])
    assert free_edges(found, 1.0).tolist() == [True, False, True, True, True]
    assert free_edges(found, 0.0).all()
    assert free_edges(found, 1e12).tolist() == [False, False, False, True, True]


def test_a_free_node_sends_on_freely() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    places = Layers.of(model, ["0.weight", "0.bias"])
    found = influences([3.0, 2.0, 0, -1.0, -2.0, 0, 9.0, 9.0], [1.0, 0.0, 0, 0.5, 0.1, 0, 0, 0])
    columns = free_nodes(model, places, found, 1.0)  # sums 2, 0, 0 against 1.5, 0.1, 0; a tie is not enough
    assert columns.tolist() == [True, False, False, True, False, False, False, False]
    assert not free_nodes(model, places, found, 2.0).any()


def test_an_input_counts_as_right_at_a_tie_and_as_wrong_below_the_margin() -> None:
    model = nn.Linear(3, 2)
    model.weight.data.zero_()
    model.bias.data.zero_()
    split, items = Split("repair", torch.rand(4, 3), torch.tensor([0, 1, 0, 1])), torch.arange(2)
    for margin, wrong in ((0.0, 0), (0.1, 2)):
        estimator = InfluenceEstimator(model, ["weight"], split, items, items + 2, margin=margin)
        assert int(estimator().remaining.sum()) == estimator.still_wrong() == wrong


def test_the_lead_is_that_over_the_best_other_class() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [5.0, 5.0, 0.0], [0.0, 0.0, 9.0]])
    probabilities = logits.double().softmax(1)
    expected = torch.stack(
        [probabilities[0, 1] - probabilities[0, 2], torch.zeros(()).double(), probabilities[2, 2] - probabilities[2, 0]]
    )
    torch.testing.assert_close(lead(logits, torch.tensor([1, 0, 2])), expected)
