"""Warnings of a model that can be used, but hardly as it is meant."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import study
from study.api.doubts import are_probabilities
from study.errors import UsageError
from tests.api.test_data import WHOLE, network

PROBABILITIES = "gives probabilities"
CHANCE = "always answering with the largest class"


def told(before: nn.Module, after: nn.Module) -> list[str]:
    """The warnings of a comparison; all of them point to the line that asked for it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study.evaluate(before, after, WHOLE, progress=False)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def test_nothing_is_said_of_a_good_model() -> None:
    assert told(network(0.0), network(0.1)) == []


def test_probabilities_in_the_place_of_logits_are_warned_of() -> None:
    soft = nn.Sequential(network(0.0), nn.Softmax(1))
    (first,) = told(soft, network(0.0))
    assert first.startswith(f"the model {PROBABILITIES}") and "Softmax" in first
    (second,) = told(network(0.0), soft)
    assert second.startswith(f"the second model {PROBABILITIES}")
    with pytest.warns(UserWarning, match=PROBABILITIES) as caught:
        study.repair(soft, WHOLE, "finetune", epochs=0, progress=False)
    assert caught[0].filename == __file__


def test_what_probabilities_look_like() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.0], [0.0, 0.0, 30.0]])
    assert are_probabilities(logits.softmax(1)) and are_probabilities(logits.softmax(1).half())
    assert not are_probabilities(logits) and not are_probabilities(logits.log_softmax(1))
    assert not are_probabilities(logits.sigmoid())
    assert not are_probabilities(torch.tensor([[1.5, -0.5]]))  # sums to 1


def test_a_model_at_chance_is_warned_of_and_not_for_want_of_train_items() -> None:
    wrong = network(9.0)
    (doubt,) = told(wrong, network(0.0))
    assert doubt.startswith("the model: ") and CHANCE in doubt and "study.Data(mean=..., std=...)" in doubt
    assert "dataset." not in doubt
    with pytest.warns(UserWarning, match=CHANCE):
        study.repair(wrong, WHOLE, "finetune", epochs=0, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.evaluate(wrong, wrong, {"test": WHOLE}, progress=False)


def test_two_models_of_other_outputs_or_inputs_are_refused() -> None:
    with pytest.raises(UsageError, match="the second model gives 4 outputs per input, and the first 3"):
        study.evaluate(nn.Linear(5, 3), nn.Linear(5, 4), WHOLE, progress=False)
    with pytest.raises(UsageError, match="the second model cannot take inputs of shape 5"):
        study.evaluate(network(0.0), nn.Linear(4, 2), WHOLE, progress=False)


def test_robustness_that_was_asked_for_and_is_not_there_is_told_beside_the_table() -> None:
    def lines(metric: str, data: study.Data) -> str:
        found = study.evaluate(network(0.3), network(0.3), data, metric=metric, progress=False)
        assert ("robustness" in found._repr_html_()) == ("robustness" in str(found))
        return str(found).splitlines()[-1]

    assert lines("all", study.Data(test=WHOLE)).startswith("robustness is not measured: the data states no radius")
    assert "robustness" not in lines("fast", study.Data(test=WHOLE))
    assert "robustness is not" not in lines("all", study.Data(test=WHOLE, epsilon=0.01))
