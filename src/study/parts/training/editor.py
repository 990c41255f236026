"""The editor of Editable Training: a few steps of gradient descent that correct one input, differentiable as a whole.

A. Sinitsin, V. Plokhotnyuk, D. Pyrkin, S. Popov, A. Babenko: Editable Neural Networks, ICLR 2020 (arXiv 2004.00345),
as the authors' code has it: RMSProp inside the graph, on a loss that is zero as soon as the target class wins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from study.data.split import Split
from study.parts.network.activations import activations
from study.parts.network.edit_scope import Scope, cut_before, scope_parameters
from study.problem.prediction import BATCH

EPSILON = 1e-6
"""Under the root of RMSProp; below float16's range, so no autocast here."""


@dataclass(frozen=True)
class EditorSettings:
    """How to edit: the fields are arguments of `Editor`, but that `scope` is as `scope_parameters` takes it."""

    scope: Scope
    steps: int
    rate: float
    second_order: bool = True
    margin: float = 0.0

    def editor(self, model: nn.Module, example: Tensor, decay: Tensor) -> Editor:
        """An editor of `model` (in eval mode) for the device of `example` (an input, [1, ...]); `decay`: beta."""
        return Editor(
            model,
            scope_parameters(model, self.scope, example),
            steps=self.steps,
            rate=self.rate,
            decay=decay,
            second_order=self.second_order,
            early_exit=example.device.type == "cpu",
            margin=self.margin,
        )


class Edit(NamedTuple):
    """weights: the edited parameters by name; loss: the edit loss under them, a scalar; steps: how many were taken."""

    weights: dict[str, Tensor]
    loss: Tensor
    steps: int | Tensor

    @property
    def success(self) -> Tensor:
        """Whether the target class has the highest logit (a tie counts)."""
        return self.loss <= 0


class Editor:
    """Ed(theta, x, y) on the present parameters theta of `model`, which must be in eval mode during each call.

    Args:
        model: the network; `scope` names the parameters S that are edited.
        steps: K, steps at most.
        rate: alpha, length of a step.
        decay: beta of RMSProp, a scalar; used within [0, 1], its gradient passed straight through.
        second_order: differentiate through the steps of an edit; False treats them as constant.
        early_exit: stop as soon as the loss is 0, which reads its value on the host; False takes all steps with the
            same result, as the gradient of a loss of 0 is 0.
        margin: by how much the target logit must exceed the others.
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
        vectors: list[Tensor] | tuple[Tensor, ...] = [layout.flat() for layout in self._layouts]
        decay = self.decay + (self.decay.clamp(0, 1) - self.decay).detach()
        if not graph:
            vectors, decay = [vector.detach().requires_grad_() for vector in vectors], decay.detach()
        # The graph of the first step holds theta's own vectors, not the long one, which is a copy.
        flat = torch.cat(vectors)
        mean_square: Tensor | None = None
        source: tuple[Tensor | None, ...] = ()
        steps: int | Tensor = 0
        for step in range(self.steps + 1):
            weights = self._named(vectors)
            loss = shortfall(self.logits(inputs, weights), labels, self.margin).mean()
            yield Edit(weights, loss, steps)
            if step == self.steps or (self.early_exit and not loss > 0):
                return
            steps = steps + (1 if self.early_exit else (loss > 0).long())
            gradients = torch.autograd.grad(
                loss, vectors, create_graph=graph and self.second_order, materialize_grads=True
            )
            gradient = torch.cat(gradients)
            flat, after = RMSPropStep.apply(flat, gradient, mean_square, decay, self.rate, source)
            source = () if source else (mean_square, gradient)
            if not graph:
                flat, after = flat.detach().requires_grad_(), after.detach()
            vectors, mean_square = flat.split(self._sizes), after

    def features(self, inputs: Tensor) -> Tensor:
        """What the unedited prefix makes of `inputs` [n, ...]: the input of the edited part, the same at every step."""
        features: Tensor = self.prefix(inputs)
        return features

    def features_of(self, split: Split) -> Tensor:
        """`features` of a whole split, without graph."""
        return activations(self.prefix, split)

    def logits(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Logits [n, C] under an edit's weights, or under theta."""
        logits: Tensor = functional_call(self.suffix, weights or {}, (features,))
        return logits

    def predict(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """`logits` without graph, in batches."""
        with torch.no_grad():
            return torch.cat([self.logits(batch, weights) for batch in features.split(BATCH)])

    def write(self, weights: dict[str, Tensor]) -> None:
        """Make an edit's weights those of the model, in place."""
        with torch.no_grad():
            for layout in self._layouts:
                layout.parameter.copy_(weights[layout.name])

    def _named(self, vectors: Sequence[Tensor]) -> dict[str, Tensor]:
        return {layout.name: layout.shaped(vector) for layout, vector in zip(self._layouts, vectors, strict=True)}


class RMSPropStep(torch.autograd.Function):
    """(phi, g, v or None, beta, alpha) to (phi', v'): v' = g^2 + beta (v - g^2), phi' = phi - alpha g / sqrt(v' + eps).

    The first step has no v, and its v' is g^2. A graph through it holds g and v; where `source` is given, in place of v
    the v and g of the step before (None and g if that was the first), from which v is computed again. That step holds
    both anyway: with a `source` for every second step, K steps hold 1.5 K vectors.
    """

    @staticmethod
    def forward(
        ctx: Any,
        flat: Tensor,
        gradient: Tensor,
        mean_square: Tensor | None,
        decay: Tensor,
        rate: float,
        source: Sequence[Tensor | None] = (),
    ) -> tuple[Tensor, Tensor]:
        after = _averaged(mean_square, gradient, decay)
        ctx.rate = rate
        ctx.save_for_backward(decay, gradient, *(source or [mean_square]))
        return flat - (rate * gradient).div_((after + EPSILON).sqrt_()), after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_flat: Tensor, to_after: Tensor) -> tuple[Tensor | None, ...]:
        decay, gradient, mean_square, *earlier = ctx.saved_tensors
        for previous in earlier:
            mean_square = _averaged(mean_square, previous, decay)
        after = _averaged(mean_square, gradient, decay).add_(EPSILON)
        pull = (ctx.rate * to_flat).div_(after.sqrt())
        total = (pull * gradient).div_(after.mul_(2)).add_(to_after)
        if mean_square is None:
            return to_flat, (2 * gradient).mul_(total).sub_(pull), None, None, None, None
        to_decay = (mean_square - gradient * gradient).mul_(total).sum()
        to_gradient = (2 * (1 - decay) * gradient).mul_(total).sub_(pull)
        return to_flat, to_gradient, total.mul_(decay), to_decay, None, None


def _averaged(mean_square: Tensor | None, gradient: Tensor, decay: Tensor) -> Tensor:
    """RMSProp's mean of squares after one more step; a new tensor."""
    square = gradient * gradient
    return square if mean_square is None else square.lerp_(mean_square, decay)


class Layout(NamedTuple):
    """How a parameter lies in one long vector of all edited parameters.

    One vector takes a tenth of the operations, hence of the graph, that one parameter after the other takes.
    order: the parameter's dimensions from the outermost in memory to the innermost (a channels-last convolution stays
    channels-last); inverse: the permutation that undoes it.
    """

    name: str
    parameter: Tensor
    order: list[int]
    inverse: list[int]

    @classmethod
    def of(cls, name: str, parameter: Tensor) -> Layout:
        """The layout of the parameter in memory."""
        strides, shape = parameter.stride(), parameter.shape
        # Of equal strides a dimension of size 1 lies within: one input channel, channels last, stays channels last.
        order = sorted(range(parameter.dim()), key=lambda each: (-strides[each], shape[each] == 1))
        return cls(name, parameter, order, [order.index(dimension) for dimension in range(len(order))])

    def flat(self) -> Tensor:
        """The parameter as a vector."""
        return self.parameter.permute(self.order).reshape(-1)

    def shaped(self, vector: Tensor) -> Tensor:
        """Its part of the long vector, in the parameter's shape."""
        shape = [self.parameter.shape[dimension] for dimension in self.order]
        return vector.view(shape).permute(self.inverse)


def shortfall(logits: Tensor, labels: Tensor, margin: float = 0.0) -> Tensor:
    """Contrastive cross-entropy [n]: how far each target logit is below the highest other plus `margin`; at least 0.

    >>> shortfall(torch.tensor([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0]]), torch.tensor([0, 1])).tolist()
    [3.0, 0.0]
    """
    target = labels[:, None]
    others = logits.scatter(1, target, -torch.inf).max(1).values
    return (margin + others - logits.gather(1, target)[:, 0]).relu()


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Run with BatchNorm and dropout in eval mode; afterwards each module is in the mode it was in."""
    in_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in in_training:
            module.training = True
