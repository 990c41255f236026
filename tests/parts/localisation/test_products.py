import pytest
import torch
from torch import nn

from study.data.split import Split
from study.parts.localisation.products import layer_products, mean_products
from study.parts.network.activations import entering
from tests.problems import digits_problem


def test_it_is_the_mean_of_the_absolute_products() -> None:
    inputs, weight = torch.randn(5, 3), torch.randn(4, 3)
    expected = torch.stack([(row * weight).abs() for row in inputs]).mean(0)
    torch.testing.assert_close(mean_products(inputs, weight), expected)
    assert mean_products(torch.tensor([[2.0, -1.0], [-4.0, 0.0]]), torch.tensor([[-1.0, 3.0]])).tolist() == [[3.0, 1.5]]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_of_several_layers_in_one_pass(batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    names = [name for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)]
    images = problem.repair_set.tensors()
    split, indices = Split("repair", images.inputs - 0.5, images.labels), torch.arange(3, 380)  # more than one batch
    found = layer_products(problem.faulty, names, split, indices)
    assert list(found) == names
    for name in names:
        inputs = entering(problem.faulty, name, split, indices)
        weight = problem.faulty.get_parameter(f"{name}.weight")
        torch.testing.assert_close(found[name], mean_products(inputs, weight.detach()))
