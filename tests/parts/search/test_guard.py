import dataclasses

import torch
from torch import Tensor

from study.data.split import Split
from study.parts.network.places import Entries, write
from study.parts.search.evolution import Population
from study.parts.search.guard import Guard, clearly_loses, fall_of, keeps_accuracy
from study.problem.prediction import right
from tests.problems import digits_problem

BIASES = Entries(("net.layers.5.bias",), torch.zeros(10, dtype=torch.int64), torch.arange(10))


def harmful(count: int) -> Tensor:
    """Biases [count, 10] under which every answer is 0 to count - 1."""
    return 1000 * torch.eye(10)[:count]


def test_it_takes_the_fittest_vector_that_keeps_validation_accuracy() -> None:
    problem = digits_problem()
    kept = BIASES.values(problem.faulty)
    guard = Guard(problem, BIASES)
    guard.watch(Population(torch.stack([kept, harmful(1)[0]]), torch.tensor([1.0, 0.5]).double()))
    guard.watch(Population(torch.stack([kept + 1e-6, harmful(2)[1]]), torch.tensor([1.5, 2.0]).double()))
    guard.watch(Population(torch.stack([harmful(3)[2], harmful(4)[3]]), torch.tensor([3.0, 2.0]).double()))
    chosen = guard.chosen()
    assert chosen is not None
    assert torch.equal(chosen, kept)  # the second round's best was harmful, and it was not the last round
    guard.watch(Population(torch.stack([kept + 2e-6, harmful(4)[3]]), torch.tensor([2.5, 2.0]).double()))
    chosen = guard.chosen()
    assert chosen is not None and torch.equal(chosen, kept + 2e-6)  # no round's best, but in the last population


def test_it_chooses_nothing_where_all_are_harmful_or_none_was_seen() -> None:
    problem = digits_problem()
    guard = Guard(problem, BIASES)
    assert guard.chosen() is None
    guard.watch(Population(harmful(3), torch.tensor([1.0, 2.0, 3.0]).double()))
    assert guard.chosen() is None


def test_a_vector_has_to_beat_the_floor() -> None:
    problem = digits_problem()
    kept = BIASES.values(problem.faulty)
    for floor, found in ((0.9, True), (1.0, False)):
        guard = Guard(problem, BIASES, floor)
        guard.watch(Population(kept[None], torch.tensor([1.0]).double()))
        assert (guard.chosen() is not None) == found


def test_validation_decides_and_not_the_repair_set() -> None:
    """Where validation holds one class alone, the bias of that class does no harm there."""
    problem = digits_problem()
    labels = problem.validation.labels
    sevens = problem.validation.tensors().inputs[labels == 7]
    problem = dataclasses.replace(problem, validation=Split("validation", sevens, labels[labels == 7]))
    guard = Guard(problem, BIASES)
    guard.watch(Population(harmful(8), torch.arange(8).double()))
    chosen = guard.chosen()
    assert chosen is not None and chosen.argmax() == 7


def test_a_model_keeps_accuracy_if_no_fewer_validation_inputs_are_right() -> None:
    problem = digits_problem()
    assert keeps_accuracy(problem, problem.faulty)
    worse = problem.copy()
    write(worse, BIASES, harmful(1)[0])
    assert right(worse, problem.validation).sum() < right(problem.faulty, problem.validation).sum()
    assert not keeps_accuracy(problem, worse)
    assert keeps_accuracy(dataclasses.replace(problem, faulty=worse), problem.faulty)


def test_a_model_that_breaks_inputs_keeps_accuracy_if_it_fixes_as_many() -> None:
    problem = digits_problem()
    order = problem.validation.labels.bincount(minlength=10).argsort()
    rare, common = problem.copy(), problem.copy()
    for model, label in ((rare, order[0]), (common, order[-1])):
        write(model, BIASES, harmful(10)[label])  # always answers that class
    assert keeps_accuracy(dataclasses.replace(problem, faulty=rare), common)
    assert not keeps_accuracy(dataclasses.replace(problem, faulty=common), rare)


def test_a_fall_in_accuracy_is_clear_from_five_items_that_broke_and_none_that_was_repaired() -> None:
    before = torch.arange(20) < 10
    assert not clearly_loses(before, torch.arange(20) < 6)
    assert clearly_loses(before, torch.arange(20) < 5)
    assert not clearly_loses(before, (torch.arange(20) >= 5) & (torch.arange(20) < 15))  # as many repaired as broken
    assert not clearly_loses(before, before) and not clearly_loses(before, torch.arange(20) < 20)


def test_a_fall_on_the_split_that_chose_the_epoch_counts_if_the_repair_split_agrees() -> None:
    problem = digits_problem()
    worse, count = problem.copy(), len(problem.validation)
    write(worse, BIASES, harmful(1)[0])
    kept, before = (int(right(model, problem.validation).sum()) for model in (worse, problem.faulty))
    told = f"{kept} of {count} right, {before} before"
    ours = dataclasses.replace(problem, history=problem.faulty)
    hard = dataclasses.replace(ours, passing=problem.passing[:1])  # hardly any of the repair split is right before
    theirs = dataclasses.replace(hard, history=None)  # a checkpoint was not chosen on it
    assert [fall_of(posed, worse) for posed in (ours, hard, theirs)] == [told, None, told]
    assert fall_of(ours, problem.faulty) is None
