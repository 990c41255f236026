"""Projected gradient descent in the L-infinity or L2 ball, batched, dropping an input as soon as it is fooled."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field, validate_call
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from study.data.threat import Norm, ThreatModel
from study.errors import NotApplicable
from study.runtime.progress import Progress


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No parameter of the model gathers a gradient inside; every flag is put back afterwards."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


NORMS = {"linf": "L-infinity", "l2": "L2"}
"""As a protocol names them."""
NO_RADIUS = "the data set has no threat model: it states no radius of attacks"
"""Why robustness does not apply without a threat model."""


def limits(threat: ThreatModel | None, radius: float | None, inputs: Tensor, norm: Norm = "linf") -> ThreatModel:
    """What an attack with a `radius` of its own may do to the inputs [N, ...].

    Without one it is the threat model's; in L2 that of the ball with the same volume.

    Raises:
        NotApplicable: there is no threat model, or the inputs are integers.
    """
    if not inputs.is_floating_point():
        raise NotApplicable("the inputs are integers (tokens), along which there is no gradient")
    if threat is None:
        raise NotApplicable(NO_RADIUS)
    if radius is not None:
        return replace(threat, radius=radius, norm=norm)
    return threat if threat.norm == norm or not len(inputs) else threat.in_l2(inputs[0].numel())


def margin_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The sum over inputs of max_{k != y} z_k - z_y; unlike cross-entropy, its gradient survives saturated logits.

    Source: Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", S&P 2017, section V.A, f_6
    without its clip.

    Args:
        logits: [N, C].
        target: [N] long.

    Returns:
        Scalar.

    >>> margin_loss(torch.tensor([[4.0, 1.0, 2.0], [0.0, 3.0, 0.0]]), torch.tensor([0, 0]))
    tensor(1.)
    """
    label = target.unsqueeze(1)
    best_other = logits.scatter(1, label, float("-inf")).amax(dim=1)
    return (best_other - logits.gather(1, label).squeeze(1)).sum()


def cross_entropy_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The sum over inputs of the cross-entropy; logits [N, C], target [N] long."""
    return cross_entropy(logits, target, reduction="sum")


LOSSES = {"cross_entropy": cross_entropy_loss, "margin": margin_loss}


class PGD:
    """PGD with a random start, uniform in the ball; in L2 a step goes along the gradient, in L-infinity along its sign.

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, section 2.1.
    The steps and the step size are foolbox's defaults for L-infinity.

    Args:
        loss: what the attack climbs.
        norm: of the ball.
        epsilon: radius in the units of the threat model; None: see `limits`.
        steps: gradient steps.
        relative_step: step size as a share of the radius.
        samples: how many inputs a metric that uses this attack draws at most.
        batch_size: inputs attacked at a time.
    """

    # A plain class: OmegaConf takes instances of dataclasses in a configuration apart.
    @validate_call(config=ConfigDict(allow_inf_nan=False))
    def __init__(
        self,
        *,
        loss: Literal["cross_entropy", "margin"] = "cross_entropy",
        norm: Norm = "linf",
        epsilon: Annotated[float, Field(gt=0)] | None = None,
        steps: Annotated[int, Field(ge=1)] = 40,
        relative_step: Annotated[float, Field(gt=0)] = 0.01 / 0.3,
        samples: Annotated[int, Field(ge=1)] = 500,
        batch_size: Annotated[int, Field(ge=1)] = 250,
    ) -> None:
        self.loss = loss
        self.norm: Norm = norm
        self.epsilon = epsilon
        self.steps = steps
        self.relative_step = relative_step
        self.samples = samples
        self.batch_size = batch_size

    def attack(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        threat: ThreatModel | None,
        generator: torch.Generator,
        progress: Progress | None = None,
    ) -> Tensor:
        """Which inputs the attack turns wrong, at its start or after any of its steps.

        Args:
            model: in eval mode; its parameters and their gradients are left as they are.
            inputs: [N, ...] float, within the bounds of the threat model.
            labels: [N] long.
            threat: the ball around each input in which the attack stays.
            generator: on the CPU, for the random starts.
            progress: counts the steps, `steps_for(N)` at most; None: nobody counts.

        Returns:
            [N] bool.

        Raises:
            NotApplicable: there is no threat model, or the inputs are integers.
        """
        threat = limits(threat, self.epsilon, inputs, self.norm)
        fooled = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
        if len(inputs) == 0:
            return fooled  # torch would split them into one empty batch
        progress = progress or Progress("attack")
        with frozen(model), torch.enable_grad():
            for batch in torch.arange(len(inputs), device=inputs.device).split(self.batch_size):
                survivors = self._survivors(model, inputs[batch], labels[batch], threat, generator, progress)
                fooled[batch[survivors]] = False
        return fooled

    def steps_for(self, count: int) -> int:
        """Gradient steps that an attack on `count` inputs takes at most, a batch of them at a time."""
        return math.ceil(count / self.batch_size) * self.steps

    def _survivors(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        threat: ThreatModel,
        generator: torch.Generator,
        progress: Progress,
    ) -> Tensor:
        """Indices into the batch of the inputs that no iterate fools."""
        lower, upper = threat.ball(inputs)
        moves, unit = lower < upper, threat.unit(inputs)
        iterate = (inputs + unit * _start(threat, moves, generator, inputs.dtype)).clamp(lower, upper)
        alive = torch.arange(len(inputs), device=inputs.device)
        for step in range(self.steps):
            if len(alive) == 0:
                progress.skip(self.steps - step)
                return alive
            iterate.requires_grad_()
            logits = model(iterate)
            (gradient,) = torch.autograd.grad(LOSSES[self.loss](logits, labels), iterate)
            right = logits.argmax(dim=1) == labels
            alive, labels, lower, upper = alive[right], labels[right], lower[right], upper[right]
            slope = gradient[right] * unit  # along the inputs counted in their units
            direction = slope.sign() if threat.norm == "linf" else _unit(slope * moves[alive])
            change = self.relative_step * threat.radius * direction * unit
            iterate = iterate.detach()[right] + change
            if threat.norm == "l2":
                iterate = _shortened(iterate, inputs[alive], threat.radius, unit)
            iterate = iterate.clamp(lower, upper)
            progress.advance()
        with torch.no_grad():
            return alive[model(iterate).argmax(dim=1) == labels] if len(alive) else alive


def _start(threat: ThreatModel, moves: Tensor, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Changes of inputs [N, ...], in their units, uniform in the ball; `moves` [N, ...] bool: which values can move.

    Drawn on the CPU, for the whole batch at once: they depend neither on the device nor on the model.
    """
    if threat.norm == "linf":
        start = torch.rand(moves.shape, generator=generator, dtype=dtype).to(moves.device)
        return threat.radius * (2 * start - 1)
    direction = torch.randn(moves.shape, generator=generator, dtype=dtype).to(moves.device) * moves
    volume = torch.rand(len(moves), generator=generator, dtype=dtype).to(moves.device)
    length = volume ** (1 / moves.flatten(1).sum(dim=1).clamp(min=1))
    return threat.radius * _per_input(length, moves) * _unit(direction)


def _shortened(iterate: Tensor, inputs: Tensor, radius: float, unit: Tensor) -> Tensor:
    """The iterate [N, ...], its L2 distance from the inputs, in their units, cut to the radius.

    Bounds that hold the inputs cut no deeper.
    """
    change = iterate - inputs
    return inputs + change * (radius / _length(change / unit).clamp(min=radius))


def _unit(vectors: Tensor) -> Tensor:
    """[N, ...] at L2 length 1, however small; zeros stay zeros."""
    largest = _per_input(vectors.flatten(1).abs().amax(dim=1), vectors)
    scaled = vectors / largest.clamp(min=torch.finfo(vectors.dtype).tiny)  # whose squares do not vanish
    return scaled / _length(scaled).clamp(min=1)


def _length(vectors: Tensor) -> Tensor:
    """The L2 norm of each of [N, ...], as [N, 1, ...]."""
    return _per_input(vectors.flatten(1).norm(dim=1), vectors)


def _per_input(values: Tensor, like: Tensor) -> Tensor:
    """One value per input [N] as [N, 1, ...]."""
    return values.view(-1, *[1] * (like.dim() - 1))
