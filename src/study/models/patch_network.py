"""A classifier with patch networks beside it: each adds a constant on one linear region and fades out around it.

With s_h the slack of hidden unit h in region r (its pre-activation, negated where the region has it off), frozen as in
that region, the support network is g_r(x) = relu(1 - sum_h min(1, gamma relu(-s_h(x)))): 1 on the region, 0 as soon as
the summed violation reaches 1 / gamma. Both this and the patch network below are closed forms of the ReLU networks in
Fu & Li (ICLR 2022). No region matrix is stored: the head is run with its units frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from study.models.piecewise_linear import PiecewiseLinear
from study.storage.blueprint import Blueprint, blueprint_of

Combination = Literal["telescoping", "sum"]
FUNCTIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "flatten": nn.Flatten}
"""Steps of a head that a network may run as functions instead of modules."""
LARGEST_BLOCK = 2**23
"""Elements of the largest intermediate tensor."""


class PatchNetwork(nn.Module):
    """`model` + R patch networks on its head: maps the inputs of `model` to logits [B, C].

    patterns: [R, H] bool, which hidden units are on in each region; shifts: [R, C] float64, what each patch adds to the
    logits there; gamma: sharpness of the support.

    Args:
        model: taken over, in eval mode.
        head: names of the modules at its end, in order: a Linear layer first, then Linear, BatchNorm1d, ReLU,
            LeakyReLU, Flatten, Dropout or Identity; "relu" and "flatten" where they run as functions. Each runs once
            and gets what the one before it returns.
        patches: R.
        combine: where regions fade into each other, `telescoping` lets the latest patch that has any support decide
            (the paper), `sum` adds the patches up.
    """

    patterns: Tensor
    shifts: Tensor
    gamma: Tensor

    def __init__(
        self, model: nn.Module, head: Sequence[str], patches: int, combine: Combination = "telescoping"
    ) -> None:
        super().__init__()
        self.model = model.eval()
        self.head_names = list(head)
        modules = dict(model.named_modules(remove_duplicate=False))
        self.head = PiecewiseLinear([modules[name] if name in modules else FUNCTIONS[name]() for name in head])
        self.combine = combine
        self.register_buffer("patterns", torch.zeros(patches, sum(self.head.widths), dtype=torch.bool))
        self.register_buffer("shifts", torch.zeros(patches, self.head.classes, dtype=torch.float64))
        self.register_buffer("gamma", torch.ones((), dtype=torch.float64))

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.blueprint`."""
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        arguments = {"head": self.head_names, "patches": len(self.patterns), "combine": self.combine}
        return {"class": name, "arguments": {"model": blueprint_of(self.model), **arguments}}

    def forward(self, inputs: Tensor) -> Tensor:
        logits, features = self.trace(inputs)
        return self.patched(logits, features)

    def trace(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, C] of the model without patches, and the input of its head [B, d], in one pass."""
        entered: list[Tensor] = []
        first = self.model.get_submodule(self.head_names[0])
        hook = first.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))
        try:
            logits = self.model(inputs)
        finally:
            hook.remove()
        (features,) = entered  # the head runs once
        return logits, features

    def patched(self, logits: Tensor, features: Tensor) -> Tensor:
        """Logits with the patches added; a row that no support reaches is left as it is, bit for bit."""
        if not len(self.patterns):
            return logits
        rows, patches, support = self.support(features)
        touched, positions = rows.unique(return_inverse=True)
        dense = support.new_zeros(len(touched), len(self.patterns)).index_put((positions, patches), support)
        block = max(1, LARGEST_BLOCK // self.shifts.numel())
        for part, supports in zip(touched.split(block), dense.split(block), strict=True):
            logits = logits.index_add(0, part, self.correction(supports.double()).to(logits.dtype))
        return logits

    def correction(self, support: Tensor) -> Tensor:
        """h [B, C], what the patches add in all where their support is g ([B, R], float64).

        A single patch is sign(d) relu(|d| - K (1 - g)) with K = max |d|. `telescoping` sums the patches of the
        differences d_r - d_(r-1), each under the largest support of the patches from r on.
        """
        steps = self.shifts
        if self.combine == "telescoping":
            steps = torch.diff(steps, dim=0, prepend=torch.zeros_like(steps[:1]))
            support = support.flip(1).cummax(dim=1).values.flip(1)
        size = steps.abs()
        fading = size.amax(dim=1) * (1 - support)
        return (steps.sign() * (size - fading.unsqueeze(2)).relu()).sum(dim=1)

    def alone(self, patches: Tensor, support: Tensor) -> Tensor:
        """What single patches add where their support is g: patches, g [P]; returns [P, C] float64."""
        shifts = self.shifts[patches]
        fading = shifts.abs().amax(dim=1) * (1 - support.double())
        return shifts.sign() * (shifts.abs() - fading[:, None]).relu()

    def only(self, kept: Tensor) -> PatchNetwork:
        """The same model, which both share, with the patches where `kept` ([R] bool) alone."""
        fewer = PatchNetwork(self.model, self.head_names, int(kept.sum()), self.combine).to(self.shifts.device)
        fewer.patterns.copy_(self.patterns[kept])
        fewer.shifts.copy_(self.shifts[kept])
        fewer.gamma.copy_(self.gamma)
        return fewer

    def support(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs of input and patch with g > 0: row of `features` ([B, d]), patch, and g, each [number of pairs].

        The first hidden layer is the same for all patches, and its summed violation is a matrix product with the
        patterns; only pairs in which that stays below 1 run through the deeper, frozen layers.
        """
        first = self.head.affine(0, features)
        on = self._states()[0].to(first.dtype)
        above, below = (self.gamma * first).clamp(0, 1), (-self.gamma * first).clamp(0, 1)
        violation = above @ (1 - on).T + below @ on.T
        rows, patches = (violation < 1).nonzero(as_tuple=True)
        block = max(1, LARGEST_BLOCK // max(self.head.widths))
        parts = [
            self._deeper(first, violation, *pair) for pair in zip(rows.split(block), patches.split(block), strict=True)
        ]
        rows, patches, support = (torch.cat(part) for part in zip(*parts, strict=True))
        return rows, patches, support

    def _deeper(self, first: Tensor, violation: Tensor, rows: Tensor, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Those pairs of `rows` and `patches` that have a positive support after all hidden layers, and the support."""
        states = self._states()
        total = violation[rows, patches]
        values = first.index_select(0, rows)
        for layer in range(1, len(states)):
            values = self.head.affine(layer, self.head.frozen(layer - 1, values, states[layer - 1][patches]))
            slack = torch.where(states[layer][patches], values, -values)
            total = total + (-self.gamma * slack).clamp(0, 1).sum(dim=1)
            kept = (total < 1).nonzero().flatten()
            rows, patches, total, values = rows[kept], patches[kept], total[kept], values.index_select(0, kept)
        return rows, patches, 1 - total

    def _states(self) -> tuple[Tensor, ...]:
        """The patterns of each hidden layer, [R, width] bool."""
        states: tuple[Tensor, ...] = self.patterns.split(self.head.widths, dim=1)
        return states
