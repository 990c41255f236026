import numpy as np
import pytest
import torch

from study.errors import RepairFailed
from study.models.frozen_run import FrozenRun
from study.parts.network.frozen_layer import FrozenLayer
from study.parts.solvers import frozen_effects
from study.parts.solvers.frozen_effects import effects_of
from tests.subjects import subject


def frozen(name: str, layer: str, later: bool) -> FrozenLayer:
    problem = subject(name)
    run = FrozenRun(problem.copy(), layer)
    return FrozenLayer.of(run, problem.repair_set, torch.arange(5), run.later if later else ())


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("name", "place", "short"),
    [
        ("lenet5", "net.fc2", True),
        ("lenet5", "net.fc3", False),
        ("lenet5", "net.fc1", False),
        ("vgg16_bn", "net.classifier.0", True),
    ],
)
def test_effects_are_what_the_frozen_network_gives_in_either_form(
    name: str, place: str, short: bool, later: bool
) -> None:
    layer = frozen(name, place, later)
    change = np.random.default_rng(0).normal(size=layer.width)
    effects = effects_of(layer)
    expected = layer.at(change)[0] - layer.at(0 * change)[0]
    np.testing.assert_allclose(effects.of(change), expected.ravel(), rtol=1e-8, atol=1e-8)
    assert (effects.first.shape[0] != effects.last.shape[0] or effects.last.nnz != effects.last.shape[0]) == short


def test_too_large_a_matrix_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_effects, "MOST_ENTRIES", 1000)
    with pytest.raises(RepairFailed, match="fewer points or units"):
        effects_of(frozen("lenet5", "net.fc1", later=False))
    effects_of(frozen("lenet5", "net.fc2", later=False))
