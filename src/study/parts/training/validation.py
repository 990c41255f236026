"""How a network does on held-out items."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from study.data.split import Split
from study.problem.prediction import predict


def validated(model: nn.Module, split: Split) -> dict[str, float]:
    """Accuracy (share in [0, 1]) and mean cross-entropy of `model` on `split`, under the names of their curves."""
    logits = predict(model, split)
    accuracy = (logits.argmax(1) == split.labels).double().mean().item()
    return {"validation/accuracy": accuracy, "validation/loss": functional.cross_entropy(logits, split.labels).item()}
