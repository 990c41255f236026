import torch

from study.models.patch_network import PatchNetwork
from study.parts.network.structure import Structure
from study.parts.network.traced_split import TracedSplit
from study.problem.prediction import predict, right
from tests.problems import digits_problem


def test_what_is_right_with_and_without_patches_is_that_of_the_whole_models() -> None:
    problem = digits_problem(batch_norm=True)
    split, model = problem.repair_set, problem.copy()
    network = PatchNetwork(model, Structure(model).head.names, 5)
    traced = TracedSplit(network, split)
    assert torch.equal(traced.logits, predict(problem.faulty, split))
    assert torch.equal(traced.right(network), right(problem.faulty, split))
    assert torch.equal(traced.right_before(), right(problem.faulty, split))
    assert not traced.gain_alone(network).any()

    network.patterns.copy_(network.head.run(traced.features[:5])[0] >= 0)
    network.shifts.copy_(9 * torch.randn(5, 10, generator=torch.Generator().manual_seed(0)))
    network.gamma.fill_(0.05)
    before, after = right(problem.faulty, split), right(network, split)
    assert torch.equal(traced.right(network), after)
    assert bool((before & ~after).any())
    for number, gain in enumerate(traced.gain_alone(network).tolist()):
        alone = right(network.only(torch.arange(5) == number), split)
        assert gain == int(alone.sum()) - int(before.sum())
