"""Repairs from Python are those of a job."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import study
from study.api.approaches import approach
from study.errors import UsageError
from study.methods.model_level.finetune import Finetune
from study.storage.models import save_state, weights_hash
from study.storage.paths import conf_folder
from tests.commands import result_of
from tests.problems import digits_problem, digits_splits


def splits() -> dict[str, tuple[Tensor, Tensor]]:
    """Digits as a user holds them."""
    return {name: (split.tensors().inputs, split.labels) for name, split in digits_splits().items()}


def network() -> nn.Module:
    """A network of the user's, trained on these splits."""
    return digits_problem().copy().get_submodule("net")


def test_a_repair_gives_the_users_own_network_and_what_changed() -> None:
    net = network().train()
    before = weights_hash(net)
    repair = study.repair(net, splits(), "finetune", epochs=2, progress=False)
    assert weights_hash(net) == before and net.training
    assert repair.outcome == "repaired" and repair.reason == ""
    assert type(repair.model) is type(net) and not repair.model.training
    inputs, labels = splits()["test"]
    with torch.no_grad():
        accuracy = (repair.model(inputs).argmax(1) == labels).double().mean().item()
    assert repair.metrics["after/accuracy"] == pytest.approx(accuracy)
    assert repair.metrics["time/repair"] > 0 and repair.metrics["cost/steps"] > 0
    assert torch.equal(repair.before.argmax(1), net.eval()(inputs).argmax(1))
    assert "confusion" in repair.pictures and repair.curves
    assert "accuracy" in str(repair) and "<table>" in repair._repr_html_()


def test_it_is_what_a_job_does(tmp_path: Path, store: Path) -> None:
    from study.data.digits import Digits

    data = Digits(limit=None, epsilon=0.1)
    net = network()
    save_state(net.state_dict(), tmp_path / "net.safetensors")
    job = result_of(
        "+method=arachne",
        "method.generations=5",
        f"faulty.checkpoint={tmp_path / 'net.safetensors'}",
        "trainer.threads=1",
        "trainer.progress=false",
    )
    repair = study.repair(net, data, "arachne", generations=5, metric="all", progress=False)
    common = {name for name in job.metrics if not name.startswith(("time/", "cost/peak_memory"))} & set(repair.metrics)
    assert {"after/accuracy", "after/margin_attack_success_rate", "cost/weights_changed"} <= common
    assert {name: repair.metrics[name] for name in common} == {name: job.metrics[name] for name in common}


def test_a_repair_of_one_data_set_draws_its_splits() -> None:
    inputs, labels = splits()["train"]
    repair = study.repair(network(), (inputs, labels), "finetune", epochs=1, progress=False)
    assert repair.outcome in ("repaired", "failure")
    assert len(repair.before) == 80


def test_an_end_without_a_repair_says_why() -> None:
    repair = study.repair(network(), splits(), "fsgmix", progress=False, max_seconds=1e-6)
    assert (repair.outcome, repair.model) == ("corrupted", None)
    assert "after/accuracy" not in repair.metrics and repair.metrics["before/accuracy"] > 0.8
    rows = study.Data(**{name: (inputs.flatten(1), labels) for name, (inputs, labels) in splits().items()})
    tables = study.repair(nn.Sequential(nn.Linear(64, 10)), rows, "fsgmix", progress=False)
    assert tables.outcome == "unadaptable" and "images" in tables.reason


def test_a_safeguard_makes_one_model_of_the_two() -> None:
    repair = study.repair(network(), splits(), "finetune", epochs=1, safeguard="soft_voting", progress=False)
    assert repair.model is not None and repair.model(splits()["test"][0]).shape == (400, 10)


def test_robustness_is_measured_where_a_radius_is_given() -> None:
    data = study.Data(**splits(), epsilon=0.1)
    repair = study.repair(network(), data, "finetune", epochs=1, metric="all", progress=False)
    assert 0 < repair.metrics["after/margin_attack_success_rate"] <= 1
    without = study.repair(network(), splits(), "finetune", epochs=1, metric="all", progress=False)
    assert "attack_success_rate" in without.not_applicable


def test_two_models_are_compared() -> None:
    net = network()
    other = copy.deepcopy(net)
    with torch.no_grad():
        next(other.parameters()).mul_(0.5)
    found = study.evaluate(net, other, splits(), progress=False)
    inputs, labels = splits()["test"]
    flips = (net(inputs).argmax(1) == labels) & (other(inputs).argmax(1) != labels)
    assert found.metrics["after/negative_flip_rate"] == pytest.approx(flips.double().mean().item())
    same = study.evaluate(net, net, splits(), progress=False)
    assert same.metrics["after/negative_flip_rate"] == 0


@pytest.mark.parametrize(
    ("method", "hyperparameters", "sentence"),
    [
        ("aracne", {}, "method=aracne: there is no such method; did you mean arachne"),
        ("finetune", {"epoch": 3}, "method.epoch: there is no such setting; did you mean epochs"),
        ("finetune", {"epochs": -1}, "method.epochs=-1: should be"),
        (Finetune(), {"epochs": 3}, "give hyperparameters to the Finetune"),
    ],
)
def test_a_mistake_gets_one_sentence(method: str, hyperparameters: dict[str, int], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        approach(method, **hyperparameters)


def test_a_model_that_does_not_fit_the_data_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot take inputs of shape 1x8x8"):
        study.repair(nn.Linear(3, 10), splits(), "finetune", progress=False)
    with pytest.raises(UsageError, match="gives 4 outputs per input, and the data has 10 classes"):
        study.repair(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), splits(), "finetune", progress=False)


NAMES = sorted(
    path.relative_to(conf_folder() / "method").with_suffix("").as_posix()
    for path in (conf_folder() / "method").rglob("*.yaml")
)


@pytest.mark.parametrize("name", NAMES)
def test_every_approach_of_the_command_line_has_the_same_values_here(name: str) -> None:
    from tests.commands import prepared

    (job,) = prepared(f"+method={name}")
    assert approach(name) == job.approach
    taken = {"seed", "safeguard", "metric", "device", "progress"}
    assert not taken & set(type(approach(name)).__pydantic_fields__)
