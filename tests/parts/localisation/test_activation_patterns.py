import torch

from study.parts.localisation.activation_patterns import class_patterns


def test_a_pattern_implies_its_class_and_is_the_largest_such_leaf() -> None:
    generator = torch.Generator().manual_seed(0)
    on = torch.rand(300, 12, generator=generator) < 0.5
    predicted = torch.where(on[:, 3] & ~on[:, 7], 1, torch.where(on[:, 3], 2, 0))
    patterns = class_patterns(on, predicted, seed=0)
    assert list(patterns) == [0, 1, 2]
    for label, (units, states) in patterns.items():
        matching = (on[:, units] == states).all(1)
        assert torch.equal(matching, predicted == label)
    assert patterns[1].units.tolist() == [3, 7] and patterns[1].on.tolist() == [True, False]


def test_one_class_or_inseparable_inputs_have_no_pattern() -> None:
    on = torch.tensor([[True, False]]).repeat(6, 1)
    assert class_patterns(on, torch.zeros(6, dtype=torch.int64), 0) == {}
    assert class_patterns(on, torch.tensor([0, 1, 0, 1, 0, 1]), 0) == {}


def test_of_several_pure_leaves_the_largest_counts_and_an_impure_one_implies_nothing() -> None:
    numbers = torch.arange(100)
    on = torch.stack([numbers < 60, numbers % 8 == 0], 1)
    predicted = torch.where(on.any(1), 1, numbers % 2 * 2)  # neither on: classes 0 and 2, which no unit separates
    patterns = class_patterns(on, predicted, seed=0)
    assert list(patterns) == [1]
    assert patterns[1].units.tolist() == [0] and patterns[1].on.tolist() == [True]
