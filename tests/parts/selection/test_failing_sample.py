import torch

from study.parts.selection.failing_sample import failing_sample
from tests.problems import digits_problem


def test_a_sample_is_of_failing_inputs_in_order_the_same_each_time_and_part_of_a_larger_one() -> None:
    problem = digits_problem()
    few, more = failing_sample(problem, 4), failing_sample(problem, 9)
    assert len(few) == 4 and len(more) == 9
    assert torch.isin(few, more).all() and torch.isin(more, problem.failing).all()
    assert torch.equal(more, more.sort().values)
    assert torch.equal(few, failing_sample(problem, 4))
    assert few.tolist() != problem.failing[:4].tolist()
    assert torch.equal(failing_sample(problem, 10**6), problem.failing)
