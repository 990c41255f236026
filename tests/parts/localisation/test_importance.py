import copy

import torch
from torch import nn
from torch.nn import functional

from study.parts.localisation.importance import ablation_importance, gradient_importance
from study.parts.network.layers import weighted_layers
from study.problem.prediction import right
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits


def test_it_is_the_first_order_change_of_the_loss_when_a_weight_is_removed() -> None:
    problem = digits_problem()
    model, split = copy.deepcopy(problem.faulty).double(), problem.repair_set.tensors()
    inputs, groups = split.inputs.double(), (problem.failing, problem.passing)

    def loss() -> torch.Tensor:
        with torch.no_grad():
            logits = model(inputs)
        return sum(functional.cross_entropy(logits[group], split.labels[group]) for group in groups)  # type: ignore

    names = weighted_layers(problem.faulty, inputs[:2].float())
    found = gradient_importance(problem.faulty, names, problem.repair_set, groups)
    assert list(found) == names
    for name in names:
        weight = model.get_parameter(f"{name}.weight").data.view(-1)
        for entry in found[name].flatten().topk(3).indices.tolist():
            value, step = weight[entry].item(), 1e-5
            weight[entry] = value * (1 - step)
            less = loss()
            weight[entry] = value * (1 + step)
            more = loss()
            weight[entry] = value
            expected = ((more - less) / (2 * step)).abs().item()
            torch.testing.assert_close(found[name].flatten()[entry].item(), expected, rtol=1e-3, atol=1e-5)


def test_empty_groups_and_models_that_cannot_be_traced() -> None:
    problem = digits_problem()
    names = weighted_layers(problem.faulty, torch.zeros(2, 1, 8, 8))
    alone = gradient_importance(problem.faulty, names, problem.repair_set, [problem.failing])
    with_none = gradient_importance(problem.faulty, names, problem.repair_set, [problem.failing, problem.failing[:0]])
    assert all(torch.equal(alone[name], with_none[name]) for name in names)
    plain = Plain().eval()
    found = gradient_importance(plain, ["hidden", "out"], digits_splits()["repair"], [torch.arange(20)])
    assert found["hidden"].shape == (32, 64) and found["out"].any()


def test_ablation_counts_the_answers_that_change() -> None:
    split = digits_splits()["repair"]
    indices = torch.arange(200)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 10)).eval()
    found = ablation_importance(model, ["1", "3"], split, indices)
    subset = split.subset(indices)
    before = int(right(model, subset).sum())
    for name in ("1", "3"):
        weight = model.get_parameter(f"{name}.weight").data.view(-1)
        for entry in range(0, len(weight), 7):
            value = weight[entry].item()
            weight[entry] = 0.0
            assert int(found[name].flatten()[entry]) == abs(int(right(model, subset).sum()) - before)
            weight[entry] = value
    assert found["1"].any() and found["3"].any()
