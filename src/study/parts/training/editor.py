"""The editor of Editable Training: a few steps of gradient descent that correct one input, differentiable as a whole.

A. Sinitsin, V. Plokhotnyuk, D. Pyrkin, S. Popov, A. Babenko: Editable Neural Networks, ICLR 2020 (arXiv 2004.00345),
as the authors' code has it: RMSProp inside the graph, on a loss that is zero as soon as the wanted class wins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from study.data.split import Split
from study.parts.network.activations import activations
from study.parts.network.edit_scope import Scope, cut_before, scope_parameters
from study.problem.prediction import BATCH

EPSILON = 1e-6
"""Under the root of RMSProp; below float16's range, so no autocast here."""


@dataclass(frozen=True)
class EditorSettings:
    """How to edit; the names are those of `Editor`, and `scope` is as `scope_parameters` takes it."""

    scope: Scope
    steps: int
    rate: float
    second_order: bool = True

    def editor(self, model: nn.Module, example: Tensor, decay: Tensor) -> Editor:
        """An editor of `model` (in eval mode; `example`: an input [1, ...]) that is fast on the device it is on."""
        return Editor(
            model,
            scope_parameters(model, self.scope, example),
            steps=self.steps,
            rate=self.rate,
            decay=decay,
            second_order=self.second_order,
            early_exit=example.device.type == "cpu",
        )


class Edit(NamedTuple):
    """weights: the edited parameters by name; loss: the edit loss under them, a scalar; steps: how many were taken."""

    weights: dict[str, Tensor]
    loss: Tensor
    steps: int | Tensor

    @property
    def success(self) -> Tensor:
        """Whether the wanted class wins, or ties."""
        return self.loss <= 0


class Editor:
    """Ed(theta, x, y) on the present parameters theta of `model`, which must be in eval mode during each call.

    Args:
        model: the network; `scope` names the parameters S that are edited.
        steps: K, at most so many steps.
        rate: alpha, length of a step.
        decay: beta of RMSProp, a scalar; used within [0, 1], its gradient passed straight through.
        second_order: the gradient through an edit knows that its steps depend on theta; False treats them as constant.
        early_exit: stop as soon as the loss is 0, which needs its value on the host; False takes all steps, to the same
            result, because the loss's hinge then makes each of them 0.
        margin: by which the wanted logit must exceed the others.
    """

    def __init__(
        self,
        model: nn.Module,
        scope: Sequence[str],
        *,
        steps: int,
        rate: float,
        decay: Tensor,
        second_order: bool = True,
        early_exit: bool = True,
        margin: float = 0.0,
    ) -> None:
        self.prefix, self.suffix = cut_before(model, scope)
        self.steps, self.rate, self.decay, self.margin = steps, rate, decay, margin
        self.second_order, self.early_exit = second_order, early_exit
        parameters = dict(model.named_parameters())
        self._layouts = [Layout.of(name, parameters[name]) for name in scope]
        self._sizes = [layout.parameter.numel() for layout in self._layouts]

    def edit(self, inputs: Tensor, labels: Tensor, *, graph: bool) -> Edit:
        """The edit that makes `inputs` ([n, ...]: features, see `features`) of class `labels` [n].

        With `graph` the result is a function of theta and beta that can be differentiated; theta itself stays.
        """
        return deque(self.iterates(inputs, labels, graph=graph), maxlen=1).pop()

    def iterates(self, inputs: Tensor, labels: Tensor, *, graph: bool) -> Iterator[Edit]:
        """phi_0 = theta, phi_1, ... until the loss is 0 or after K steps."""
        flat = torch.cat([layout.flat() for layout in self._layouts])
        decay = self.decay + (self.decay.clamp(0, 1) - self.decay).detach()
        if not graph:
            flat, decay = flat.detach().requires_grad_(), decay.detach()
        mean_square: Tensor | None = None
        steps: int | Tensor = 0
        for step in range(self.steps + 1):
            weights = self._named(flat)
            loss = shortfall(self.logits(inputs, weights), labels, self.margin).mean()
            yield Edit(weights, loss, steps)
            if step == self.steps or (self.early_exit and not loss > 0):
                return
            steps = steps + (1 if self.early_exit else (loss > 0).long())
            (gradient,) = torch.autograd.grad(loss, flat, create_graph=graph and self.second_order)
            square = gradient * gradient
            mean_square = square if mean_square is None else torch.lerp(square, mean_square, decay)
            flat = flat - self.rate * gradient / (mean_square + EPSILON).sqrt()
            if not graph:
                flat = flat.detach().requires_grad_()

    def features(self, inputs: Tensor) -> Tensor:
        """What enters the part of the network that edits change, for `inputs` [n, ...]; run this once for all steps."""
        features: Tensor = self.prefix(inputs)
        return features

    def features_of(self, split: Split) -> Tensor:
        """The same for a whole split, without graph."""
        return activations(self.prefix, split)

    def logits(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Logits [n, C] under an edit's weights, or under theta."""
        logits: Tensor = functional_call(self.suffix, weights or {}, (features,))
        return logits

    def predict(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """The same without graph, in batches."""
        with torch.no_grad():
            return torch.cat([self.logits(some, weights) for some in features.split(BATCH)])

    def write(self, weights: dict[str, Tensor]) -> None:
        """Make an edit's weights those of the model, in place."""
        with torch.no_grad():
            for layout in self._layouts:
                layout.parameter.copy_(weights[layout.name])

    def _named(self, flat: Tensor) -> dict[str, Tensor]:
        parts = zip(self._layouts, flat.split(self._sizes), strict=True)
        return {layout.name: layout.shaped(part) for layout, part in parts}


class Layout(NamedTuple):
    """A parameter's place in one long vector of all: a tenth of the operations, hence of the graph, of one by one.

    `order`: its dimensions from the outermost in memory to the innermost: a channels-last convolution stays one;
    `back` is the inverse.
    """

    name: str
    parameter: Tensor
    order: list[int]
    back: list[int]

    @classmethod
    def of(cls, name: str, parameter: Tensor) -> Layout:
        """The layout that the parameter has in memory."""
        order = sorted(range(parameter.dim()), key=lambda dimension: -parameter.stride()[dimension])
        return cls(name, parameter, order, [order.index(dimension) for dimension in range(len(order))])

    def flat(self) -> Tensor:
        """The parameter as a vector."""
        return self.parameter.permute(self.order).reshape(-1)

    def shaped(self, vector: Tensor) -> Tensor:
        """A part of the long vector as the parameter."""
        shape = [self.parameter.shape[dimension] for dimension in self.order]
        return vector.view(shape).permute(self.back)


def shortfall(logits: Tensor, labels: Tensor, margin: float = 0.0) -> Tensor:
    """Contrastive cross-entropy [n]: by how much each wanted logit falls short of the highest other; 0 if it wins.

    >>> shortfall(torch.tensor([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0]]), torch.tensor([0, 1])).tolist()
    [3.0, 0.0]
    """
    wanted = labels[:, None]
    others = logits.scatter(1, wanted, -torch.inf).max(1).values
    return (margin + others - logits.gather(1, wanted)[:, 0]).relu()


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Run with BatchNorm and dropout in eval mode; the mode of each module is put back after."""
    in_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in in_training:
            module.training = True
