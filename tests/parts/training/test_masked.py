import torch
from torch import nn

from study.parts.training.masked import MaskedRMSprop


def test_it_is_torchs_rmsprop_on_masked_gradients_and_holds_the_rest() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(50, generator=generator)
    parameter = nn.Parameter(values.clone())
    theirs, ours = torch.optim.RMSprop([parameter], lr=0.01), MaskedRMSprop(values, 0.01)
    for _ in range(5):
        gradient, free = torch.randn(50, generator=generator), torch.rand(50, generator=generator) < 0.5
        before = values
        values = ours.stepped(values, gradient, free)
        assert torch.equal(values[~free], before[~free]) and (values[free] != before[free]).all()
        parameter.grad = gradient * free
        theirs.step()
        torch.testing.assert_close(values, parameter.detach())


def test_the_first_step_is_ten_rates_long_against_the_gradient() -> None:
    step = MaskedRMSprop(torch.zeros(3), 1e-3).stepped(
        torch.zeros(3), torch.tensor([2.0, -0.1, 5.0]), torch.ones(3) > 0
    )
    torch.testing.assert_close(step, torch.tensor([-0.01, 0.01, -0.01]), rtol=1e-4, atol=0)
