from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from study.errors import NotApplicable
from study.parts.network.linear_cuts import dense_end, linear_cuts
from study.problem.prediction import predict
from tests.networks import Plain, TinyNet
from tests.problems import build, digits_problem, digits_splits, problem_of


class PassedBy(nn.Module):
    """A connection passes `inner` by; `rows` works on more than one vector per input."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.first, self.inner = nn.Linear(8, 8), nn.Linear(64, 16), nn.Linear(16, 16)
        self.out, self.norm = nn.Linear(16, 10), nn.BatchNorm1d(10)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.first(self.rows(inputs).flatten(1))
        logits: Tensor = self.norm(self.out(features + self.inner(features)))
        return logits


def test_the_parts_of_a_cut_give_the_logits() -> None:
    problem, inputs = digits_problem(batch_norm=True), digits_splits()["repair"].inputs[:9]
    cuts = linear_cuts(problem.faulty, inputs)
    assert [cut.name for cut in cuts] == ["net.layers.1", "net.layers.4", "net.layers.7"]
    assert [type(cut.suffix) is nn.Identity for cut in cuts] == [False, False, True]
    entering = inputs.flatten(1)
    torch.testing.assert_close(cuts[0].logits(entering), predict(problem.faulty, problem.repair_set)[:9])
    assert not cuts[0].logits(entering).requires_grad


def test_only_layers_of_one_vector_that_nothing_passes_by() -> None:
    model = PassedBy().eval()
    cuts = linear_cuts(model, torch.rand(3, 1, 8, 8))
    assert [cut.name for cut in cuts] == ["first", "out"]
    assert not isinstance(cuts[-1].suffix, nn.Identity)  # a BatchNorm follows
    with pytest.raises(NotApplicable, match="Linear layer"):
        linear_cuts(nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()).eval(), torch.rand(3, 1, 8, 8))
    assert [cut.name for cut in linear_cuts(Plain().eval(), torch.rand(3, 1, 8, 8))] == ["out"]


@pytest.mark.parametrize("last_only", [False, True])
def test_the_end_of_a_network_is_the_same_problem(last_only: bool) -> None:
    model = build(TinyNet).eval()
    problem = problem_of(model, digits_splits())
    end, cuts = dense_end(problem, last_only=last_only)
    assert [cut.name for cut in cuts] == (["net.head.2"] if last_only else ["net.head.0", "net.head.2"])
    assert end.repair_set.inputs[:1].shape == (1, 16 if last_only else 72)  # type: ignore[index]
    for before, after in ((problem.repair_set, end.repair_set), (problem.validation, end.validation)):
        torch.testing.assert_close(predict(end.faulty, after), predict(model, before))
        assert torch.equal(after.labels, before.labels)
    name = f"{cuts[0].name}.weight"
    assert end.faulty.get_parameter(name) is model.get_parameter(name)


def test_a_network_that_cannot_be_traced_is_its_own_end() -> None:
    problem = problem_of(Plain().eval(), digits_splits())  # type: ignore[arg-type]
    end, cuts = dense_end(replace(problem, seed=3), last_only=False)
    assert end.faulty is problem.faulty and [cut.name for cut in cuts] == ["out"]
