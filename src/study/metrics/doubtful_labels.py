"""Labels that are probably wrong, among a model's errors: the errors that nobody should repair."""

from importlib.util import find_spec
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from study.errors import NotApplicable
from study.metrics.base import Comparison, is_right
from study.metrics.description import Unit


class DoubtfulLabels(Comparison):
    """Of the inputs that a model gets wrong, the share whose label confident learning takes for wrong.

    Source: Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021; computed by
    cleanlab from the model's own probabilities on the test split, which it was not trained on.
    """

    name: ClassVar[str] = "doubtful_label_rate"
    label: ClassVar[str] = "doubtful labels"
    unit: ClassVar[Unit] = "rate"
    meaning: ClassVar[str] = "of the test inputs that are wrong, the share whose label is probably wrong itself"
    protocol: ClassVar[str] = "confident learning (cleanlab)"
    summary: ClassVar[bool] = False

    logits_before: list[Tensor]
    logits_after: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for state in ("logits_before", "logits_after", "targets"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """See `Comparison.update`."""
        self.logits_before.append(before)
        self.logits_after.append(after)
        self.targets.append(target)

    def compute(self) -> dict[str, Tensor]:
        """The share "before" and "after"; without errors it is 0, as nothing is in doubt."""
        if find_spec("cleanlab") is None:
            raise NotApplicable("it needs a package more: pip install cleanlab")
        if not self.targets or not len(target := dim_zero_cat(self.targets)):
            raise NotApplicable("there are no test inputs")
        logits = {"before": self.logits_before, "after": self.logits_after}
        return {when: doubtful_share(dim_zero_cat(values), target) for when, values in logits.items()}


def doubtful_share(logits: Tensor, target: Tensor) -> Tensor:
    """Of the inputs that `logits` [N, C] gets wrong, the share whose label in `target` [N] is probably wrong; or 0."""
    from cleanlab.filter import find_label_issues  # of this metric alone, and slow to import

    probabilities = logits.double().softmax(dim=1)
    found = find_label_issues(target.cpu().numpy(), probabilities.cpu().numpy(), n_jobs=1)
    wrong = ~is_right(logits, target).cpu()
    return (torch.from_numpy(found) & wrong).sum().double() / wrong.sum().clamp(min=1)
