"""Doubtful labels, with cleanlab where it is installed and with a stand-in where it is not."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from study.errors import NotApplicable
from study.metrics.doubtful_labels import DoubtfulLabels


def sure(predicted: Tensor, strength: float = 6.0) -> Tensor:
    return strength * one_hot(predicted, 3).float()


def stand_in(monkeypatch: pytest.MonkeyPatch, doubtful: list[int]) -> list[dict[str, Any]]:
    """A cleanlab that doubts these labels; returns what it is asked."""
    asked: list[dict[str, Any]] = []

    def find_label_issues(labels: np.ndarray, pred_probs: np.ndarray, n_jobs: int) -> np.ndarray:
        asked.append({"labels": labels, "pred_probs": pred_probs, "n_jobs": n_jobs})
        return np.isin(np.arange(len(labels)), doubtful)

    package, filters = ModuleType("cleanlab"), ModuleType("cleanlab.filter")
    filters.find_label_issues = find_label_issues  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cleanlab", package)
    monkeypatch.setitem(sys.modules, "cleanlab.filter", filters)
    monkeypatch.setattr("study.metrics.doubtful_labels.find_spec", lambda name: package)
    return asked


def test_the_share_is_of_the_errors_of_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = stand_in(monkeypatch, [0, 1, 5])
    target = torch.tensor([0, 1, 2, 0, 1, 2])
    before, after = torch.tensor([1, 2, 0, 1, 1, 2]), torch.tensor([1, 1, 2, 0, 1, 0])
    metric = DoubtfulLabels()
    metric.update(sure(before[:4]), sure(after[:4]), target[:4])
    metric.update(sure(before[4:]), sure(after[4:]), target[4:])
    # Wrong before: 0, 1, 2, 3, of which 0 and 1 are in doubt; after: 0 and 5, both.
    assert {when: value.item() for when, value in metric.compute().items()} == {"before": 0.5, "after": 1.0}
    assert np.allclose(asked[0]["pred_probs"], sure(before).double().softmax(1).numpy())
    assert asked[0]["labels"].tolist() == target.tolist()


def test_without_errors_nothing_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, [])
    metric, target = DoubtfulLabels(), torch.tensor([0, 1])
    metric.update(sure(target), sure(target), target)
    assert metric.compute()["after"] == 0


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.metrics.doubtful_labels.find_spec", lambda name: None)
    metric, target = DoubtfulLabels(), torch.tensor([0, 1])
    metric.update(sure(target), sure(target), target)
    with pytest.raises(NotApplicable, match="pip install cleanlab"):
        metric.compute()


def test_cleanlab_finds_the_labels_that_were_swapped() -> None:
    pytest.importorskip("cleanlab")
    truth = torch.arange(300) % 3
    labels = truth.clone()
    labels[:12] = (labels[:12] + 1) % 3  # mislabelled; the model is sure of the truth
    logits = sure(truth)
    logits[288:] = sure((truth[288:] + 1) % 3, 0.4)  # errors that the model is not sure of
    metric = DoubtfulLabels()
    metric.update(logits, logits, labels)
    assert metric.compute()["before"].item() == pytest.approx(12 / 24, abs=0.1)
