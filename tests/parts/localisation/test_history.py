from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from study.parts.localisation.history import Change, Impact, Suspicion, turned
from study.parts.localisation.weights import Localiser
from study.problem.prediction import predict
from study.problem.problem import Problem
from tests.problems import digits_problem


@pytest.fixture(params=[False, True], ids=["plain", "batch_norm"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return digits_problem(batch_norm=request.param, epochs=3)


def names_of(problem: Problem) -> list[str]:
    return [name for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)]


def suspicion_of(problem: Problem) -> Suspicion:
    assert problem.history is not None
    names = names_of(problem)
    degraded, improved = turned(problem, problem.history)
    localiser = Localiser(problem.faulty, names)
    impacts = [Impact.on(localiser, problem.repair_set, indices) for indices in (degraded, improved)]
    return Suspicion(impacts[0], impacts[1], Change.between(problem.faulty, problem.history, names))


def heads(tensor: Tensor, count: int) -> set[int]:
    """The places of the `count` largest entries, those that are zero left out."""
    flat = tensor.flatten().tolist()
    return {place for place in sorted(range(len(flat)), key=lambda place: -flat[place])[:count] if flat[place] > 0}


def test_what_an_epoch_turned(problem: Problem) -> None:
    assert problem.history is not None
    labels = problem.repair_set.labels
    now, then = (predict(m, problem.repair_set).argmax(1) == labels for m in (problem.faulty, problem.history))
    degraded, improved = turned(problem, problem.history)
    assert degraded.tolist() == [i for i in range(len(labels)) if then[i] and not now[i]]
    assert improved.tolist() == [i for i in range(len(labels)) if now[i] and not then[i]]
    assert len(degraded) and len(improved)
    same = turned(problem, problem.faulty)
    assert not len(same.degraded) and not len(same.improved)


def test_impact_is_that_of_a_loop_over_the_inputs() -> None:
    problem = digits_problem()
    last, some = names_of(problem)[-1], problem.failing[:5]
    impact = Impact.on(Localiser(problem.faulty, [last]), problem.repair_set, some)
    layer, hidden = problem.faulty.net.layers[5], problem.faulty.net.layers[:5]
    with torch.no_grad():
        entering = hidden(problem.repair_set.fetch(some).inputs)
    weight = layer.weight.detach()
    products = [[abs(float(x[i] * weight[j, i])) for x in entering] for j in range(10) for i in range(32)]
    expected = torch.tensor([sum(row) / 5 for row in products]).view(10, 32)
    torch.testing.assert_close(impact.forward[0], expected)
    model = copy.deepcopy(problem.faulty)
    for index in some:
        batch = problem.repair_set.fetch(index[None])
        nn.functional.cross_entropy(model(batch.inputs), batch.labels).backward()
    gradient = model.get_parameter(f"{last}.weight").grad
    assert gradient is not None
    torch.testing.assert_close(impact.backward[0], gradient.abs())


def test_change_counts_every_array(problem: Problem) -> None:
    assert problem.history is not None
    names, old, new = names_of(problem), problem.history.state_dict(), problem.faulty.state_dict()
    means = {key: float((new[key] - old[key]).abs().mean()) for key in new if "num_batches" not in key}
    change = Change.between(problem.faulty, problem.history, names)
    expected = [means[f"{name}.weight"] / sum(means.values()) for name in names]
    torch.testing.assert_close(change.share, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=0)
    assert change.share.sum() < 1
    assert not Change.between(problem.faulty, problem.faulty, names).share.any()


def test_suspects_are_the_set_operations(problem: Problem) -> None:
    suspicion = suspicion_of(problem)
    for impact in (suspicion.degraded, suspicion.improved):
        assert float(impact.shares().sum()) == pytest.approx(1)
    rate = 12.0
    budgets = suspicion.budgets(rate)
    expected, start = [], 0
    for number, count in enumerate(budgets):
        harm, good = (
            heads(impact.forward[number], count) & heads(impact.backward[number], count)
            for impact in (suspicion.degraded, suspicion.improved)
        )
        found = harm & heads(suspicion.change.moved[number], count) - good
        assert len(found) <= count
        expected += [start + place for place in sorted(found)]
        start += suspicion.change.moved[number].numel()
    assert suspicion.suspects(rate).tolist() == expected
    assert len(expected) > 0
    improved_too = Suspicion(suspicion.degraded, suspicion.degraded, suspicion.change)
    assert not len(improved_too.suspects(rate))  # what is as useful as it is harmful is no suspect


def test_budgets_follow_the_formula_and_the_rate(problem: Problem) -> None:
    suspicion = suspicion_of(problem)
    a, b, c = suspicion.degraded.shares(), suspicion.improved.shares(), suspicion.change.share
    sizes = [tensor.numel() for tensor in suspicion.change.moved]
    expected = [round(float(n * a[k] / (a[k] + b[k]) * c[k] * 2)) for k, n in enumerate(sizes)]
    assert suspicion.budgets(2.0) == expected
    assert suspicion.budgets(0.0) == [0] * len(sizes) and not len(suspicion.suspects(0.0))
    assert all(x <= y for x, y in zip(suspicion.budgets(1.0), suspicion.budgets(3.0), strict=True))
    assert suspicion.budgets(1e9) == sizes


def test_without_improved_inputs_nothing_is_protected(problem: Problem) -> None:
    suspicion = suspicion_of(problem)
    nothing = Impact.on(Localiser(problem.faulty, names_of(problem)), problem.repair_set, problem.failing[:0])
    alone = Suspicion(suspicion.degraded, nothing, suspicion.change)
    assert alone.budgets(1.0) == [
        round(float(n * c))
        for n, c in zip([t.numel() for t in suspicion.change.moved], suspicion.change.share, strict=True)
    ]
    assert len(alone.suspects(3.0)) >= len(suspicion.suspects(3.0))


def test_without_history_every_weight_counts_as_moved(problem: Problem) -> None:
    names = names_of(problem)
    localiser = Localiser(problem.faulty, names)
    harm, good = (Impact.on(localiser, problem.repair_set, i) for i in (problem.failing, problem.passing))
    change = Change.unknown(problem.faulty, names)
    arrays = sum("num_batches" not in key for key in problem.faulty.state_dict())
    assert change.share.tolist() == pytest.approx([1 / arrays] * len(names))
    suspicion = Suspicion(harm, good, change)
    expected, start = [], 0
    for number, count in enumerate(suspicion.budgets(1.0)):
        both = [heads(i.forward[number], count) & heads(i.backward[number], count) for i in (harm, good)]
        expected += [start + place for place in sorted(both[0] - both[1])]
        start += change.moved[number].numel()
    assert suspicion.suspects(1.0).tolist() == expected and expected
