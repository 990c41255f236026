import torch

from study.parts.localisation.front import failing_front
from study.problem.prediction import predict
from tests.problems import digits_problem

LAST = "net.layers.5"


def test_it_is_the_front_of_a_loop_over_weights_and_inputs() -> None:
    problem = digits_problem()
    failing, count = problem.failing[-9:], 100
    split = problem.repair_set
    hidden = torch.relu(predict(problem.faulty.net.layers[:4], split.subset(failing)))
    labels = split.labels[failing]
    weight = problem.faulty.net.layers[5].weight.detach()
    errors = predict(problem.faulty, split.subset(failing)).softmax(1) - torch.eye(10)[labels]
    pairs = []
    for j in range(10):
        for i in range(weight.shape[1]):
            loss = abs(sum(errors[n, j] * hidden[n, i] for n in range(9)))
            impact = sum(abs(hidden[n, i] * weight[j, i]) for n in range(9)) / 9
            pairs.append((float(loss), float(impact), j * weight.shape[1] + i))
    top = sorted(pairs, key=lambda pair: -pair[0])[:count]
    expected = [a[2] for a in top if not any(b[0] >= a[0] and b[1] >= a[1] and b is not a for b in top)]
    assert failing_front(problem.faulty, LAST, split, failing, count).tolist() == expected
    assert len(expected) > 1


def test_fewer_candidates_and_none() -> None:
    problem = digits_problem()
    assert len(failing_front(problem.faulty, LAST, problem.repair_set, problem.failing, 1)) == 1
    dead = problem.copy()
    dead.net.layers[3].weight.data.zero_()
    dead.net.layers[3].bias.data.zero_()
    assert len(failing_front(dead, LAST, problem.repair_set, problem.failing, 50)) == 0
