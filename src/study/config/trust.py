"""Which code a configuration may name: each `_target_` is code that runs, so each is looked at before it does.

Three statements of trust there are: the packages below, the setting `trust`, and a name in a yaml file of the user's
own folder (`--config-dir`). A name that only the command line gives is refused. Nothing here imports torch.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from study.errors import UsageError

PACKAGES = ("study", "torch", "torchvision", "timm")
HOMES = {
    # What networks and transforms are made of. Outside these rooms lie functions that run the code of a file or of a
    # server: torch.load, torch.hub, torch.utils.cpp_extension, torchvision.io, timm.data.create_dataset.
    "torch": ("torch.nn", "torch._C._nn"),
    "torchvision": ("torchvision.models", "torchvision.ops", "torchvision.transforms"),
    "timm": ("timm.models", "timm.layers", "timm.data.transforms", "timm.data.transforms_factory"),
}
HYDRA = ("study.cli", "hydra._internal.core_plugins", "hydra_plugins", "optuna.samplers", "logging", "colorlog")
"""What Hydra's own part may name: launchers, sweepers, callbacks, log handlers."""
FINDERS = ("hydra.utils.get_class", "hydra.utils.get_method", "hydra.utils.get_object")
"""They give what their `path` names, which is looked at in their place."""
NAMING = ("_target_", "()", "class", "custom_search_space")
"""Keys of Hydra's own part whose value is called, or imported."""


def check_names(values: Mapping[str, Any], hydra: DictConfig) -> None:
    """Refuse every name that nobody trusts, before anything is imported but what Hydra itself loads.

    values: a resolved configuration; hydra: Hydra's own part of it.

    Raises:
        UsageError: The sentence names the setting, the name and what would let it run.
    """
    _refuse_references(values, "")
    raw = OmegaConf.to_container(hydra, resolve=False)  # most of its references have no value yet
    _refuse_makers(raw, "hydra")
    trust, own = list(values.get("trust", [])), _own_names(hydra)
    for key, name in _names(values, ""):
        if not _within(name, [*PACKAGES, *trust]) and name not in own:
            raise _refusal(key, name)
    for key, name in _names_of_hydra(raw, "hydra"):
        if not _within(name, [*HYDRA, *trust]) and name not in own:
            raise _refusal(key, name)
        _check_home(key, name, [*trust, *own], HYDRA)


def check_homes(values: Mapping[str, Any], hydra: DictConfig) -> None:
    """Refuse a trusted name that leads to something else, as `torch.os.system` does; imports what is named.

    A name that leads nowhere is left to whoever builds it.
    """
    named = [*values.get("trust", []), *_own_names(hydra)]
    for key, name in _names(values, ""):
        _check_home(key, name, named, ())


def _check_home(key: str, name: str, named: Sequence[str], rooms: Sequence[str]) -> None:
    """named: what the user names, exactly or by a package; rooms: Hydra's, empty for the rest of the configuration."""
    if name in named:
        return  # named as it stands, whatever it is
    try:
        found = _followed(name, [*PACKAGES, *HYDRA, *named])
    except Exception as error:  # a module may raise anything while it is imported
        if rooms:
            raise UsageError(f"{key}={name}: leads nowhere") from error
        return  # the same comes again, and is told, when it is built
    home = _home(found)
    if not (_within(home, [*rooms, *named]) or (not rooms and _is_material(found, home))):
        raise UsageError(f"{key}={name}: leads to {home}, which is not trusted; trust=[{name}] lets its code run")


def _is_material(found: Any, home: str) -> bool:
    """Whether an object is one that networks, transforms and the parts of a job are made of."""
    package = home.partition(".")[0]
    if package == "study":
        return isinstance(found, type)  # its functions write and remove files
    return home == "torch" or _within(home, HOMES.get(package, ()))  # `torch` itself: dtypes, functions of tensors


def _names(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Each name that Hydra would call, with its setting; what a finder of Hydra's looks for in the finder's place."""
    for name, item in _items(value):
        yield from _names(item, f"{key}.{name}".removeprefix("."))
    if not isinstance(value, dict) or "_target_" not in value:
        return
    target = str(value["_target_"])
    if target not in FINDERS:
        yield f"{key}._target_".removeprefix("."), target
    elif "path" in value:
        yield f"{key}.path", str(value["path"])
    else:
        yield f"{key}._args_", ",".join(map(str, value.get("_args_") or ()))


def _names_of_hydra(value: Any, key: str) -> Iterator[tuple[str, str]]:
    for name, item in _items(value):
        if name in NAMING and isinstance(item, str):
            yield f"{key}.{name}", item
        yield from _names_of_hydra(item, f"{key}.{name}")


def _refuse_references(value: Any, key: str) -> None:
    """Refuse an escaped reference, which Hydra resolves when it builds: after this look, and to anything."""
    if isinstance(value, str) and "${" in value:
        raise UsageError(f"{key}={value}: a reference cannot be escaped; write ${{...}} without the backslash")
    for name, item in _items(value):
        _refuse_references(item, f"{key}.{name}".removeprefix("."))


def _refuse_makers(value: Any, key: str) -> None:
    """Refuse what Hydra's part may hold that comes to a name only when it is used."""
    if isinstance(value, str) and re.search(r"\$\{.*oc\.(create|decode)", value, re.DOTALL):
        raise UsageError(f"{key}={value}: write the values out, without oc.create and oc.decode")
    if isinstance(value, str) and value.startswith("ext://") and not re.fullmatch(r"ext://sys\.std(out|err)", value):
        raise UsageError(f"{key}={value}: should be ext://sys.stdout or ext://sys.stderr")
    for name, item in _items(value):
        _refuse_makers(item, f"{key}.{name}")


def _items(value: Any) -> Iterator[tuple[object, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _within(name: str, prefixes: Sequence[str]) -> bool:
    """Whether a dotted name lies in one of some packages or modules, or is one of the names."""
    plain = re.fullmatch(r"(?!__)\w+(\.(?!__)\w+)*", name) is not None  # __globals__ and its like lead anywhere
    return plain and any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _refusal(key: str, name: str) -> UsageError:
    package = name.partition(".")[0]
    if not re.fullmatch(r"\w+(\.\w+)*", name):
        return UsageError(f"{key}={name}: should be a dotted name, such as my_package.Net")
    wanted = name if package in {*PACKAGES, "hydra", *sys.stdlib_module_names} else package  # never all of `os`
    return UsageError(f"{key}={name}: {wanted} is not trusted; trust=[{wanted}] lets its code run")


def _followed(name: str, packages: Sequence[str]) -> Any:
    """What a dotted name leads to, followed as Hydra follows it; a foreign module on the way is what it leads to."""
    first, *rest = name.split(".")
    found: Any = importlib.import_module(first)
    for number, part in enumerate(rest, 2):
        if isinstance(found, ModuleType) and not hasattr(found, part):
            found = importlib.import_module(".".join(name.split(".")[:number]))
        else:
            found = getattr(found, part)
        if isinstance(found, ModuleType) and not _leads_to(found.__name__, packages):
            return found
    return found


def _leads_to(module: str, packages: Sequence[str]) -> bool:
    return _within(module, packages) or any(package.startswith(f"{module}.") for package in packages)


def _home(found: Any) -> str:
    """The module in which an object is defined; its type's for one that knows none, the name of a module."""
    if isinstance(found, functools.partial):
        return _home(found.func)
    if isinstance(found, ModuleType):
        return found.__name__
    return str(getattr(found, "__module__", None) or type(found).__module__)


def _own_names(hydra: DictConfig) -> frozenset[str]:
    """The names in the yaml files of the user's own folders, which `--config-dir` or `hydra.searchpath` gives."""
    given = ("command-line", "hydra.searchpath")
    sources = [source for source in hydra.runtime.config_sources if source.provider.startswith(given)]
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    groups = {re.split("[/@]", str(group))[0] for group in hydra.runtime.choices}  # those that the job is made of
    files = (file for folder in folders for group in groups for file in (folder / group).rglob("*.yaml"))
    return frozenset(name for file in files for name in _names_in(file))


def _names_in(file: Path) -> Iterator[str]:
    """The names in a yaml file; none in one that cannot be read, of which Hydra complains if it uses it."""
    try:
        yield from (name for _, name in _names(yaml.safe_load(file.read_text()), ""))
    except (OSError, ValueError, yaml.YAMLError):
        return
