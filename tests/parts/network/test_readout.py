import pytest
import torch
from torch import nn

from study.errors import NotApplicable
from study.parts.network.places import Entries, write
from study.parts.network.readout import Readout
from study.problem.prediction import predict
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_patch_of_the_layer_alone_is_that_of_the_network(batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    readout = Readout.of(problem.faulty, problem.repair_set)
    torch.testing.assert_close(
        predict(readout.network, readout.split), predict(problem.faulty, problem.repair_set), atol=1e-5, rtol=1e-5
    )
    places = Entries(("0.weight",), torch.zeros(2, dtype=torch.long), torch.tensor([3, 40]))
    whole = problem.copy()
    write(whole, readout.in_model(places), torch.tensor([2.0, -3.0]))
    write(readout.network, places, torch.tensor([2.0, -3.0]))
    torch.testing.assert_close(
        predict(readout.network, readout.split), predict(whole, problem.repair_set), atol=1e-4, rtol=1e-4
    )
    assert not torch.equal(readout.layer.weight, problem.faulty.get_parameter(f"{readout.name}.weight"))


def test_it_needs_a_last_linear_layer_but_no_trace() -> None:
    assert Readout.of(Plain().eval(), digits_splits()["repair"]).name == "out"
    with pytest.raises(NotApplicable, match="logits"):
        Readout.of(nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Tanh()).eval(), digits_splits()["repair"])
