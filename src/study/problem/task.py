"""What is known of a subject before its faulty model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from study.data.example import example_inputs
from study.data.threat import ThreatModel

if TYPE_CHECKING:
    from study.data.module import DataModule

Kind = Literal["image", "table", "tokens"]


@dataclass(frozen=True)
class TaskSpec:
    """The structure of a task; `Approach.check` looks at this alone.

    model: the architecture with untrained weights, in eval mode; input_shape: without the batch dimension;
    has_groups: items carry a sensitive group; has_history: the faulty model is trained here, for more than one epoch,
    so that an earlier one can exist (`Problem.history` is None all the same where the first epoch is the best);
    threat: what an attack may do to an input, None where that is not defined; affine_invariant: images keep their
    labels when they are shifted, turned or sheared a little; renamable: inputs are programs, whose splits can rename
    local variables; dataset: name of the data set.
    """

    model: nn.Module
    kind: Kind
    num_classes: int
    input_shape: tuple[int, ...]
    has_groups: bool = False
    has_history: bool = True
    threat: ThreatModel | None = None
    affine_invariant: bool = True
    renamable: bool = False
    dataset: str = ""

    @classmethod
    def of(cls, data: DataModule, model: nn.Module, *, has_history: bool) -> TaskSpec:
        """The task that a data set, after its `check`, poses to a network."""
        return cls(
            model=model,
            kind=data.kind,
            num_classes=data.num_classes,
            input_shape=tuple(data.input_shape),
            has_groups=data.group_names is not None,
            has_history=has_history,
            threat=data.threat,
            affine_invariant=data.affine_invariant,
            renamable=data.renamable,
            dataset=data.name,
        )

    @property
    def name(self) -> str:
        """The class of the network."""
        return type(getattr(self.model, "net", self.model)).__name__

    @property
    def distortable(self) -> bool:
        """Whether an input may be shifted, turned or sheared a little in training: an image that keeps its label."""
        return self.kind == "image" and self.affine_invariant

    def example(self, count: int) -> Tensor:
        """`count` inputs [count, *input_shape] to try a network with: floats within the bounds, or token ids."""
        bounds = self.threat.bounds if self.threat is not None else (0.0, 1.0)
        return example_inputs(self.kind, self.input_shape, bounds, count)
