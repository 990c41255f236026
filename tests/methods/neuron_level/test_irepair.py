from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.errors import NotApplicable, RepairFailed
from study.methods.neuron_level import irepair
from study.methods.neuron_level.irepair import IRepair
from study.parts.search.guard import keeps_accuracy
from study.parts.selection.few_per_class import few_per_class
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from tests.fitting import driven
from tests.problems import digits_problem, digits_splits, problem_of, same

QUICK: dict[str, Any] = {"lr": 1e-4, "max_iters": 20, "per_class": 10}


def repaired(problem: Problem, **settings: Any) -> nn.Module:
    return driven(IRepair(**(QUICK | settings)), problem)[0].model


def literal(problem: Problem, gamma: float, iterations: int, masked: bool = True) -> nn.Module:
    """The authors' loop, as it stands: three passes, dictionaries of masks, torch's optimizer."""
    model, repair_set = problem.copy(), problem.repair_set
    drawn = few_per_class(repair_set.labels[problem.passing], 10, problem.stream("search"))
    general, specific = repair_set.fetch(problem.passing[drawn]), repair_set.fetch(problem.failing)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4)

    def influence(value: Tensor) -> dict[str, Tensor]:
        optimizer.zero_grad()
        value.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    for _ in range(iterations):
        logits = model(specific.inputs)
        wrong = logits.gather(1, specific.labels[:, None])[:, 0] - logits.amax(1) != 0
        if not wrong.any():
            break
        normal = influence(model(general.inputs).abs().sum() / len(general.labels))
        faulty = influence(functional.cross_entropy(model(specific.inputs[wrong]), specific.labels[wrong]))
        inputs = torch.cat([general.inputs, specific.inputs])
        influence(functional.cross_entropy(model(inputs), torch.cat([general.labels, specific.labels])))
        for name, parameter in model.named_parameters():
            ratio = (faulty[name].abs() + 1e-8) / (gamma * normal[name].abs() + 1e-8)
            if masked and parameter.grad is not None:
                parameter.grad *= torch.where(ratio >= 1, 1.0, 0.0)
        optimizer.step()
    return model


def assert_close(one: nn.Module, other: nn.Module, started: nn.Module) -> None:
    """Equal up to rounding: far closer to each other than to where they started."""
    far = max((a - b).abs().max() for a, b in zip(one.parameters(), started.parameters(), strict=True))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert (a - b).abs().max() < 0.02 * far


@pytest.mark.parametrize("gamma", [0.3, 1.0])
def test_it_is_the_authors_loop(gamma: float) -> None:
    problem = digits_problem()
    ours = repaired(problem, gamma=gamma)
    assert_close(ours, literal(problem, gamma, 20), problem.faulty)
    assert not same(ours, repaired(problem, gamma=gamma, mask="random"))


def test_without_a_mask_it_is_plain_fine_tuning() -> None:
    problem = digits_problem()
    plain = literal(problem, 1.0, 20, masked=False)
    assert_close(repaired(problem, mask="none"), plain, problem.faulty)
    assert same(repaired(problem, mask="none"), repaired(problem, gamma=0.0))


def test_held_weights_stay_bit_for_bit_and_random_ones_are_as_many() -> None:
    problem, changed = digits_problem(batch_norm=True), {}
    for mask in ("influence", "random"):
        model = repaired(problem, mask=mask, max_iters=1)
        pairs = zip(model.parameters(), problem.faulty.parameters(), strict=True)
        changed[mask] = torch.cat([(a != b).flatten() for a, b in pairs])
        buffers = zip(model.buffers(), problem.faulty.buffers(), strict=True)
        assert all(torch.equal(a, b) for a, b in buffers)
    _, curves = driven(IRepair(**(QUICK | {"max_iters": 1})), problem)
    _, random = driven(IRepair(**(QUICK | {"max_iters": 1, "mask": "random"})), problem)
    assert 0 < curves.values["search/free"][-1][1] == random.values["search/free"][-1][1] < 1
    assert not torch.equal(changed["influence"], changed["random"])


def test_it_stops_when_nothing_remains_and_says_how_many_do() -> None:
    problem = replace(digits_problem(), failing=digits_problem().failing[:3])
    result, curves = driven(IRepair(lr=1e-3, max_iters=200, per_class=10, gamma=0.1), problem)
    assert result.costs["remaining"] == 0 and result.costs["evaluations"] < 200
    assert curves.values["search/remaining"][-1][1] == 0 < curves.values["search/remaining"][-2][1]
    part, _ = driven(IRepair(**QUICK), digits_problem())
    failing = digits_problem().repair_set.subset(digits_problem().failing)
    assert part.costs["remaining"] == (predict(part.model, failing).argmax(1) != failing.labels).sum() > 0


def test_keep_best_returns_the_state_with_most_inputs_right(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = digits_problem()
    wild = {"lr": 3e-2, "max_iters": 12}
    drawn = few_per_class(problem.repair_set.labels[problem.passing], 10, problem.stream("search"))
    both = problem.repair_set.subset(torch.cat([problem.passing[drawn], problem.failing]))
    right = [
        int((predict(repaired(problem, **wild, keep_best=k), both).argmax(1) == both.labels).sum()) for k in (0, 1)
    ]
    assert right[1] > right[0]
    slow = {"lr": 1e-7, "max_iters": 3}  # no answer changes: of equal states the first is the faulty model
    assert same(repaired(problem, **slow, keep_best=True), problem.faulty)
    assert not same(repaired(problem, **slow), problem.faulty)


def test_the_guard_falls_back_to_an_earlier_state_or_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, seen = digits_problem(), list[nn.Module]()

    def third(problem: Problem, model: nn.Module) -> bool:
        seen.append(problem.copy())
        seen[-1].load_state_dict(model.state_dict())
        return len(seen) == 3

    monkeypatch.setattr(irepair, "keeps_accuracy", third)
    model = repaired(problem, guard=True)
    assert same(model, seen[2]) and same(seen[0], repaired(problem)) and same(seen[2], repaired(problem, max_iters=18))
    monkeypatch.setattr(irepair, "keeps_accuracy", lambda *_: False)
    with pytest.raises(RepairFailed, match="validation accuracy"):
        repaired(problem, guard=True)
    monkeypatch.undo()
    assert keeps_accuracy(problem, repaired(problem, guard=True))


def test_what_it_cannot_repair() -> None:
    problem = digits_problem()
    with pytest.raises(RepairFailed, match="right on no repair input"):
        repaired(replace(problem, passing=problem.passing[:0]))
    broken = problem.copy()
    broken.get_submodule("net.layers.5").weight.data[0, 0] = torch.nan
    with pytest.raises(RepairFailed, match="not finite"):
        repaired(problem_of(broken, digits_splits()))
    with pytest.raises(NotApplicable, match="Linear, Conv2d or BatchNorm2d"):
        IRepair().check(TaskSpec(nn.Sequential(nn.Flatten(), nn.LayerNorm(64)).eval(), "image", 10, (1, 8, 8)))
    with pytest.raises(NotApplicable, match="needs a Linear layer"):
        IRepair(influence="node").check(TaskSpec(nn.Conv2d(1, 2, 3).eval(), "image", 10, (1, 8, 8)))


def test_options_act() -> None:
    problem = digits_problem()
    node = repaired(problem, influence="node", gamma=0.5)
    old, new = dict(problem.faulty.named_parameters()), dict(node.named_parameters())
    assert torch.equal(old["net.layers.1.bias"], new["net.layers.1.bias"])
    changed = (old["net.layers.1.weight"] != new["net.layers.1.weight"]).any(0)  # by column
    assert changed.any() and not changed.all()
    base = repaired(problem)
    assert not same(repaired(problem, normalise_general=True), base)
    assert same(repaired(problem, normalise_general=True, gamma=10.0), base)
    assert not same(repaired(problem, margin=0.5), base)
    assert not same(repaired(problem, max_fail=5), base)
    assert_close(repaired(problem, micro_batch=16), base, problem.faulty)
