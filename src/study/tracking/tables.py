"""What is known of single classes, of pairs of classes and of layers, as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from study.repairs.changes import LayerChange


def class_table(before: Tensor, after: Tensor, target: Tensor, class_names: Sequence[str]) -> str:
    """One line per class: its inputs, the accuracy on them before and after, how many were repaired and broken.

    Args:
        before, after: Predicted classes [N], integer.
        target: Labels [N], integer.
        class_names: One per class.
    """
    old, new = before == target, after == target
    kinds = (torch.ones_like(old), old, new, ~old & new, old & ~new)
    columns = (torch.bincount(target[kind], minlength=len(class_names)).tolist() for kind in kinds)
    lines = [
        (name, number, _share(right, number), _share(kept, number), repaired, broken)
        for name, number, right, kept, repaired, broken in zip(class_names, *columns, strict=True)
    ]
    return _csv(("class", "inputs", "accuracy_before", "accuracy_after", "repaired", "broken"), lines)


def pair_table(before: Tensor, after: Tensor, target: Tensor, class_names: Sequence[str]) -> str:
    """One line per kind of error that the faulty model makes, the most frequent first: how many of it were repaired.

    The arguments are those of `class_table`.
    """
    wrong = before != target
    pairs, kinds = torch.stack([target, before], dim=1)[wrong].unique(dim=0, return_inverse=True)
    failing = torch.bincount(kinds, minlength=len(pairs))
    repaired = torch.bincount(kinds[(after == target)[wrong]], minlength=len(pairs))
    lines = [
        (class_names[label], class_names[answer], number, fixed, _share(fixed, number))
        for (label, answer), number, fixed in zip(pairs.tolist(), failing.tolist(), repaired.tolist(), strict=True)
    ]
    lines.sort(key=lambda line: -line[2])
    return _csv(("label", "prediction_before", "failing", "repaired", "repair_rate"), lines)


def layer_table(layers: Iterable[LayerChange]) -> str:
    """One line per layer: its weights, the share that changed, how far they moved over their norm before."""
    lines = [
        (
            change.layer,
            change.weights,
            _share(change.changed, change.weights),
            float(f"{change.distance:.6g}"),
            float(f"{change.distance / change.norm:.6g}") if change.norm else None,
        )
        for change in layers
    ]
    return _csv(("layer", "weights", "changed", "distance", "relative_distance"), lines)


def _share(part: int, whole: int) -> float | None:
    """In [0, 1], six digits; None of nothing."""
    return round(part / whole, 6) if whole else None


def _csv(heading: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heading, *lines])
    return text.getvalue()
