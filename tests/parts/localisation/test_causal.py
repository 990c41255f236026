import pytest
import torch
from torch import Tensor, nn

from study.parts.localisation import causal
from study.parts.localisation.causal import causal_effects, interventional_expectations
from study.parts.network.activations import entering
from study.parts.network.linear_cuts import LinearCut, linear_cuts
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits


def cut_and_features(number: int, batch_norm: bool = True) -> tuple[LinearCut, Tensor]:
    """A Linear layer of the network on digits, and what enters it for 40 inputs."""
    problem = digits_problem(batch_norm)
    cut = linear_cuts(problem.faulty, problem.repair_set.fetch(torch.arange(2)).inputs)[number]
    return cut, entering(problem.faulty, cut.name, problem.repair_set, torch.arange(40))


def overwritten(cut: LinearCut, features: Tensor, classes: Tensor, levels: Tensor) -> Tensor:
    """The interventions one by one: the coordinate is overwritten and the layer and all that follows are run."""
    result = torch.zeros(levels.shape, dtype=torch.float64)
    for neuron, row in enumerate(levels):
        for step, level in enumerate(row):
            forced = features.clone()
            forced[:, neuron] = level
            with torch.no_grad():
                probabilities = cut.suffix(cut.layer(forced)).softmax(1)
            result[neuron, step] = probabilities[torch.arange(len(forced)), classes].double().mean()
    return result


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("elements", [2**20, 700, 1])
def test_interventions_equal_overwriting_the_coordinate(
    number: int, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal, "block_size", lambda _: elements)
    cut, features = cut_and_features(number)
    features = features[:12]
    generator = torch.Generator().manual_seed(0)
    levels = 5 * torch.randn(features.shape[1], 3, generator=generator)
    classes = torch.randint(10, (12,), generator=generator)
    found = interventional_expectations(cut, features, classes, levels)
    expected = overwritten(cut, features, classes, levels)
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_an_effect_is_the_spread_over_the_observed_range_on_the_watched_inputs() -> None:
    cut, features = cut_and_features(2)
    features = features + 1  # so that no range begins at 0
    watched = torch.arange(40) % 3 == 0
    low, high = features.amin(0), features.amax(0)
    levels = torch.stack([low + share * (high - low) for share in (0, 1 / 3, 2 / 3, 1)], 1)
    with torch.no_grad():
        classes = cut.layer(features[watched]).argmax(1)
    expected = overwritten(cut, features[watched], classes, levels)
    found = causal_effects(cut, features, watched, 4)
    torch.testing.assert_close(found, expected.amax(1) - expected.amin(1), atol=1e-5, rtol=1e-4)


def test_a_constant_neuron_has_no_effect() -> None:
    cut, features = cut_and_features(1)
    features[:, 5] = 0.3
    effects = causal_effects(cut, features, torch.ones(40, dtype=torch.bool), 4)
    assert effects[5] == 0 and (effects > 0).sum() > 20


def test_the_neuron_that_alone_drives_the_wrong_class_comes_first() -> None:
    """The planted unit is the only one to raise class 1 above class 0; others are as large but push neither."""
    layer = nn.Linear(6, 2)
    layer.weight.data[:], layer.bias.data[:] = 0.05, 0
    layer.weight.data[:, 4] = torch.tensor([-2.0, 2.0])
    layer.weight.data[:, 2] = torch.tensor([0.0, 0.2])
    features = torch.rand(30, 6, generator=torch.Generator().manual_seed(0))
    effects = causal_effects(LinearCut("out", layer, nn.Identity()), features, torch.ones(30, dtype=torch.bool), 4)
    assert effects.argsort(descending=True)[:2].tolist() == [4, 2]


def test_a_model_that_cannot_be_traced_has_effects_on_its_output_layer() -> None:
    model, split = Plain().eval(), digits_splits()["repair"]
    (cut,) = linear_cuts(model, split.fetch(torch.arange(2)).inputs)
    features = entering(model, cut.name, split, torch.arange(20))
    assert causal_effects(cut, features, torch.ones(20, dtype=torch.bool), 4).shape == (32,)
