import pytest
import torch
from torch import nn

from study.errors import NotApplicable
from study.parts.network.rectified_chain import chain_of, rectified_chain
from tests.networks import Plain
from tests.problems import digits_problem
from tests.subjects import SUBJECTS, subject

EXAMPLE = torch.zeros(2, 6)


def dense(*between: nn.Module, last: nn.Module | None = None) -> nn.Module:
    """A Linear layer, what is between, and the one that gives the logits."""
    return nn.Sequential(nn.Linear(6, 6), *between, nn.Linear(6, 3), *([] if last is None else [last])).eval()


def test_a_relu_and_what_does_nothing_at_inference_may_lie_between() -> None:
    for between in ([nn.ReLU()], [nn.ReLU(), nn.Dropout()], [nn.Identity(), nn.ReLU(), nn.Flatten()]):
        model = dense(*between)
        assert rectified_chain(model, EXAMPLE) == ["0", str(len(between) + 1)]


@pytest.mark.parametrize(
    "between", [[], [nn.LeakyReLU()], [nn.BatchNorm1d(6), nn.ReLU()], [nn.ReLU(), nn.BatchNorm1d(6)], [nn.GELU()]]
)
def test_with_anything_else_between_the_last_layer_is_alone(between: list[nn.Module]) -> None:
    assert rectified_chain(dense(*between), EXAMPLE) == [str(len(between) + 1)]


def test_the_chain_starts_behind_what_is_no_part_of_it() -> None:
    middle = [nn.LeakyReLU(), nn.Linear(6, 6), nn.ReLU()]
    assert rectified_chain(dense(*middle), EXAMPLE) == ["2", "4"]
    shared = nn.Linear(6, 6)
    twice = nn.Sequential(shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(6, 3)).eval()
    assert rectified_chain(twice, EXAMPLE) == ["4"]


def test_layers_are_counted_from_the_end_and_too_few_are_said() -> None:
    problem = digits_problem()
    example = problem.repair_set.fetch(problem.failing[:2]).inputs
    names = rectified_chain(problem.faulty, example)
    assert names == ["net.layers.1", "net.layers.3", "net.layers.5"]
    assert [chain_of(problem.faulty, example, count) for count in (1, 2, 3)] == [names[-1:], names[-2:], names]
    with pytest.raises(NotApplicable, match="needs 3 hidden Linear layers.*there are 2"):
        chain_of(problem.faulty, example, 4)


def test_what_cannot_be_traced_has_its_last_layer_and_what_gives_no_logits_none() -> None:
    assert rectified_chain(Plain().eval(), torch.zeros(2, 64)) == ["out"]
    with pytest.raises(NotApplicable, match="not its logits"):
        rectified_chain(dense(nn.ReLU(), last=nn.Softmax(1)), EXAMPLE)


@pytest.mark.parametrize(
    ("name", "count"),
    [("lenet5", 3), ("mlp", 3), ("vgg16_bn", 2), ("resnet18", 1), ("densenet121", 1), ("facenet", 1)],
)
def test_of_the_studys_architectures(name: str, count: int) -> None:
    assert name in SUBJECTS
    problem = subject(name)
    assert len(rectified_chain(problem.faulty, problem.task.example(2))) == count
