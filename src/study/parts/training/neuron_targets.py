"""Training a single neuron, with an affine map on what it sends on, and writing it back into its network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.parts.network.hidden_layer import HiddenLayer

Loss = Callable[[Tensor, Tensor], Tensor]
"""From the neuron's outputs [b] on some items, and which these are ([b] int64), to a scalar."""


class TinyNetwork(nn.Module):
    """Neuron `number` of a layer as a network of its own: scale * neuron(entering) + offset, [B, d] to [B].

    Starts as the neuron is; BatchNorm between its Linear and its reader stays as it is. What the network has no place
    for is not trained: the bias of a Linear without one, and the offset where the reader has no bias.
    """

    def __init__(self, layer: HiddenLayer, number: int) -> None:
        super().__init__()
        self.column = None if layer.modules else number
        self.neuron = nn.Sequential(*[_of_one(module, number) for module in layer.modules])
        self.scale = nn.Parameter(layer.reader.weight.new_ones(()))
        self.offset = nn.Parameter(torch.zeros_like(self.scale), requires_grad=layer.reader.bias is not None)
        self.eval()

    def forward(self, entering: Tensor) -> Tensor:
        inputs = entering if self.column is None else entering[:, self.column, None]
        output: Tensor = self.scale * self.neuron(inputs)[:, 0] + self.offset
        return output


def train_neuron(
    tiny: TinyNetwork,
    entering: Tensor,
    loss: Loss,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    generator: torch.Generator,
) -> int:
    """Train in place by Adam on `entering` [B, d] in shuffled mini-batches; the number of mini-batches.

    A mini-batch whose loss is exactly 0 changes nothing.
    """
    parameters = [parameter for parameter in tiny.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr, fused=True)
    batches = 0
    for _ in range(epochs):
        order = torch.randperm(len(entering), generator=generator).to(entering.device)
        for rows in order.split(batch_size):
            with torch.enable_grad():
                value = loss(tiny(entering[rows]), rows)
            for parameter, gradient in zip(parameters, torch.autograd.grad(value, parameters), strict=True):
                parameter.grad = gradient
            # Where this is 1, a fused optimizer takes no step: nothing has to wait for the device to know the loss.
            optimizer.found_inf = (value.detach() == 0).float()  # type: ignore[attr-defined]
            optimizer.step()
            batches += 1
    return batches


@torch.no_grad()
def write_neuron(layer: HiddenLayer, number: int, tiny: TinyNetwork) -> None:
    """Put a trained neuron into its network: its own weights, its column of the reader, and the reader's bias."""
    reader = layer.reader
    if reader.bias is not None:
        reader.bias.add_(tiny.offset * reader.weight[:, number])
    reader.weight[:, number] *= tiny.scale
    if layer.linear is not None:
        for name, parameter in layer.linear.named_parameters():
            parameter[number] = tiny.neuron[0].get_parameter(name)[0]


def interval_loss(lower: Tensor, upper: Tensor) -> Loss:
    """Mean squared distance of each output from the interval [lower, upper] ([B] each) of its item."""

    def loss(outputs: Tensor, rows: Tensor) -> Tensor:
        return (outputs - outputs.clamp(lower[rows], upper[rows])).square().mean()

    return loss


def output_loss(layer: HiddenLayer, number: int, values: Tensor, labels: Tensor) -> Loss:
    """Cross-entropy of the network whose neuron `number` sends on these outputs, all others their `values` [B, N]."""

    def loss(outputs: Tensor, rows: Tensor) -> Tensor:
        column = torch.full((len(rows), 1), number, device=rows.device)
        logits = layer.logits(values[rows].scatter(1, column, outputs[:, None]))
        return functional.cross_entropy(logits, labels[rows])

    return loss


def _of_one(module: nn.Module, number: int) -> nn.Module:
    """The same for one unit alone, with copies of its parameters; only those of a Linear are to be trained."""
    if isinstance(module, nn.Linear):
        weight = module.weight
        one: nn.Module = nn.utils.skip_init(
            nn.Linear, module.in_features, 1, bias=module.bias is not None, device=weight.device, dtype=weight.dtype
        )
    elif isinstance(module, nn.BatchNorm1d):
        one = nn.BatchNorm1d(1, module.eps, affine=module.affine).requires_grad_(False)
        assert module.running_mean is not None
        one.to(module.running_mean)
    else:
        return nn.ReLU() if isinstance(module, nn.ReLU) else nn.Identity()
    state = module.state_dict().items()
    one.load_state_dict({name: each[number : number + 1] if each.dim() else each for name, each in state})
    return one
