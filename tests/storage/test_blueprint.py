"""A blueprint builds a module again, and nothing that it names runs foreign code."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from study.errors import UsageError
from study.storage.blueprint import Blueprint, from_blueprint, outside_names


class Outsider(nn.Linear):
    """A class that is not of the package."""


OUTSIDER: Blueprint = {"class": f"{__name__}.Outsider", "arguments": {"in_features": 2, "out_features": 1}}


def test_a_foreign_class_is_built_only_where_it_is_allowed() -> None:
    with pytest.raises(UsageError, match=r"names .*Outsider, which is neither"):
        from_blueprint(OUTSIDER)
    module = from_blueprint(OUTSIDER, allowed={OUTSIDER["class"]})
    assert type(module).__name__ == "Outsider"
    assert module.blueprint == OUTSIDER


@pytest.mark.parametrize("name", ["os.system", "torch.nn.Linear", "studying.Net", "study"])
def test_other_packages_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="neither of this package"):
        from_blueprint({"class": name, "arguments": {}})


@pytest.mark.parametrize(
    "name",
    [
        "study.storage.models.Path",
        "study.storage.models.load_model",
        "study.storage.models.nn.Linear",
        "study.storage.files.os.system",
    ],
)
def test_what_is_no_module_class_of_the_package_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a torch module"):
        from_blueprint({"class": name, "arguments": {}})


@pytest.mark.parametrize("name", ["study.storage.blueprint.Gone", "study.gone.Net"])
def test_a_class_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        from_blueprint({"class": name, "arguments": {}})


def test_nested_blueprints_are_held_to_the_same_rule() -> None:
    with pytest.raises(UsageError, match="Outsider"):
        from_blueprint({"class": "study.models.classifier.Classifier", "arguments": {"net": OUTSIDER}})


def outsiders(width: int, layers: list[nn.Module], make: Callable[[], nn.Module]) -> nn.Module:
    """A factory: it makes a module and is none."""
    return nn.Sequential(nn.Linear(2, width), *layers, make())


def of_no_module() -> list[int]:
    return []


NAME = f"{__name__}.outsiders"
FACTORY: Blueprint = {
    "class": NAME,
    "positional": [3],
    "arguments": {
        "layers": [OUTSIDER | {"arguments": {"in_features": 3, "out_features": 3}}],
        "make": {"class": "torch.nn.Linear", "arguments": {"in_features": 3}, "partial": True},
    },
}
FACTORY["arguments"]["make"]["arguments"]["out_features"] = 1


def test_a_factory_is_called_with_all_that_it_was_configured_with() -> None:
    allowed = {NAME, OUTSIDER["class"], "torch.nn.Linear"}
    module = from_blueprint(FACTORY, allowed)
    assert [type(layer).__name__ for layer in module.children()] == ["Linear", "Outsider", "Linear"]
    assert module.blueprint == FACTORY
    assert set(outside_names(FACTORY)) == allowed


@pytest.mark.parametrize("missing", [NAME, OUTSIDER["class"], "torch.nn.Linear"])
def test_each_name_in_a_factory_has_to_be_allowed(missing: str) -> None:
    with pytest.raises(UsageError, match=f"names {missing}, which is neither"):
        from_blueprint(FACTORY, {NAME, OUTSIDER["class"], "torch.nn.Linear"} - {missing})


def test_what_makes_no_module_is_refused() -> None:
    name = f"{__name__}.of_no_module"
    with pytest.raises(UsageError, match="which makes no torch module"):
        from_blueprint({"class": name, "arguments": {}}, {name})
