"""From a command line to the configurations of its jobs, and a clear sentence for each mistake on the way.

Everything is composed here once before Hydra starts, so that a mistake in one job of a sweep is found before the
first job runs and before a folder is made. Nothing here imports torch.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from study.config import own as own_files
from study.config.complaints import KINDS
from study.config.experiments import brings_method
from study.config.home import check_home
from study.config.loader import Loader
from study.config.overrides import ADDED, GROUPS, KEYS, Offer, check, parse, unknown_key
from study.config.settings import HYDRA, resolved
from study.config.sweeps import BASIC, every_job, sample_jobs, sweeper_of
from study.errors import UsageError, nearest
from study.storage.paths import home

VERSION_BASE = "1.3"
SEEDS = ("seed=", "subject.seed=")
"""How the overrides begin that change a job's seeds."""
ONE = ""
"""In place of a sweeper: the command line is of one job."""
MODES = ("run", "multirun", "cfg", "info")
"""Options of which Hydra takes one."""
MERGED = {"ListConfig": KINDS["list"], "DictConfig": KINDS["dict"]}
"""What should be there in place of something that Hydra cannot merge into it."""
REFUSED = {
    "config_path": "the configuration is this program's; --config-dir DIR adds your own",
    "config_name": "the configuration is this program's; experiment=NAME chooses settings of your own",
    "experimental_rerun": "it would unpickle a file, which can run code; repeat the command instead",
}
"""Options that would run something else than what is checked here."""


@dataclass(frozen=True)
class Composed:
    """One job of a command line: its configuration with Hydra's part, and the overrides that made it."""

    whole: DictConfig
    overrides: list[str]

    @cached_property
    def config(self) -> DictConfig:
        """The configuration without Hydra's part: a copy, which costs more than composing it."""
        return OmegaConf.masked_copy(self.whole, [str(key) for key in self.whole if key != HYDRA])

    @property
    def hydra(self) -> DictConfig:
        """Hydra's part."""
        part: DictConfig = self.whole[HYDRA]
        return part

    @cached_property
    def choices(self) -> dict[str, str]:
        """The chosen option of each group."""
        return dict(self.hydra.runtime.choices)

    @cached_property
    def values(self) -> dict[str, Any]:
        """The configuration as plain values, see `settings.resolved`."""
        return resolved(self.whole)


def alike(jobs: Iterable[Composed]) -> Iterator[tuple[Composed, Composed]]:
    """Each job with the first one that differs from it in the seeds alone: itself, where it is that one.

    Its arguments are the same but for the seeds, and so are its values: some may refer to the seed.
    """
    firsts: dict[tuple[str, ...], list[tuple[Composed, dict[str, Any]]]] = {}
    for job in jobs:
        values = _without_seeds(job.values)
        near = firsts.setdefault(tuple(text for text in job.overrides if not text.startswith(SEEDS)), [])
        first = next((other for other, its in near if its == values), None)
        if first is None:
            near.append((job, values))
        yield job, job if first is None else first


def _without_seeds(values: Mapping[str, Any]) -> dict[str, Any]:
    subject = values["subject"]
    if isinstance(subject, Mapping):
        subject = {name: value for name, value in subject.items() if name != "seed"}
    return {name: value for name, value in values.items() if name != "seed"} | {"subject": subject}


def with_plus(argv: Sequence[str]) -> list[str]:
    """The arguments with `method=x` read as `+method=x`, which Hydra asks for since no method is the default.

    Where an experiment brings a method it is the other way round: `+method=x` is read as `method=x`, which replaces it.
    """
    added = [group for group in ADDED if group != "method" or not brings_method(argv)]
    bare = [text.removeprefix("+") if text.partition("=")[0].removeprefix("+") in ADDED else text for text in argv]
    return [f"+{text}" if text.partition("=")[0] in added else text for text in bare]


def parsed(argv: Sequence[str]) -> Namespace:
    """Hydra's view of the arguments, whose options may stand anywhere; raises UsageError for one that is unknown."""
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # its own prints the usage and exits
    arguments, unknown = parser.parse_known_intermixed_args(list(argv))
    if unknown:
        known = re.findall(r"--[\w-]+", parser.format_usage())
        raise UsageError(f"{unknown[0]}: there is no such option; {nearest(unknown[0], known)}")
    for name, reason in REFUSED.items():
        if getattr(arguments, name):
            raise UsageError(f"--{name.replace('_', '-')}: {reason}")
    given = [f"--{name}" for name in MODES if getattr(arguments, name)]
    if len(given) > 1:
        raise UsageError(f"{' '.join(given)}: only one of these at a time")
    return arguments


def for_hydra(argv: Sequence[str], arguments: Namespace) -> list[str]:
    """The arguments, parsed and checked before, in the form that Hydra's own start takes: options come last.

    In a multirun it leaves a swept `+method=a,b` or `dataset=a,b` out, so that `method.epochs=3` would find no method
    to change, and `dataset.group=sex` a data set that has no such setting.
    """
    options = list(argv)
    for text in arguments.overrides:
        options.remove(text)
    if arguments.help or arguments.hydra_help:
        return options  # no setting changes a help text, and nothing has checked them
    swept = {"method", *(text.partition("=")[0] for text in arguments.overrides if re.search(r"=.*[,(]", text))}
    forced = tuple(f"{group}." for group in GROUPS if group in swept) if arguments.multirun else ()
    overrides = [f"++{text}" if forced and text.startswith(forced) else text for text in arguments.overrides]
    if searches(arguments) and not any(text.startswith("hydra.sweeper.direction=") for text in overrides):
        overrides.append("hydra.sweeper.direction=maximize")  # Optuna's own default is to minimize
    return overrides + options


def searches(arguments: Namespace) -> bool:
    """Whether a sweep's jobs are chosen while it runs, by what those before them return."""
    return bool(arguments.multirun) and "hydra/sweeper=optuna" in arguments.overrides


def composed(arguments: Namespace, conf: Path) -> list[Composed]:
    """Every job of a command line, composed; raises UsageError for a name or key that is not there.

    Of a sweep whose sweeper chooses the jobs while it runs: some that it may come to.
    """
    own = Path(arguments.config_dir).absolute() if arguments.config_dir else None
    if own is not None and not own.is_dir():
        raise UsageError(f"--config-dir {arguments.config_dir}: there is no such folder")
    home()
    Loader.forget()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base=VERSION_BASE, job_name="study"):
        loader = GlobalHydra.instance().config_loader()
        offer = Offer.of(loader, own)
        overrides = parse(arguments.overrides, offer, loader)
        check(overrides, offer, arguments.multirun)
        if own is not None:
            own_files.check_names(own, offer.groups, loader)
        sweeper = sweeper_of(overrides) if arguments.multirun else ONE
        jobs = _all(_listed(arguments, overrides, sweeper), own, offer)
    check_home(jobs[0].hydra, multirun=arguments.multirun)
    searching = sweeper not in (ONE, BASIC)
    if searching and any(job.whole.get("plan") is True for job in jobs):
        raise UsageError(f"plan=true: hydra/sweeper={sweeper} chooses its jobs while it runs; leave one of the two out")
    return jobs


def _listed(arguments: Namespace, overrides: Sequence[Override], sweeper: str) -> list[list[str]]:
    """The arguments of each job."""
    if sweeper == ONE:
        return [list(arguments.overrides)]
    return every_job(overrides) if sweeper == BASIC else sample_jobs(overrides)


def _all(jobs: Sequence[list[str]], own: Path | None, offer: Offer) -> list[Composed]:
    """The jobs, composed; raises UsageError, and for a file of the user's own too that cannot be used."""
    try:
        return [_compose(job, own) for job in jobs]
    except (yaml.YAMLError, OSError, ValueError) as error:
        sentence = own_files.unreadable(error, own, offer.groups)
        raise UsageError(sentence or _first_line(error)) from error
    except RecursionError as error:
        if own is None:
            raise
        raise UsageError(own_files.circle(own, offer.groups)) from error


def _refuse(message: str) -> NoReturn:
    raise UsageError(f"{message}; `python -m study --help` shows how to write a command")


def _compose(overrides: list[str], own: Path | None) -> Composed:
    search_path = [f"hydra.searchpath=[file://{own}]"] if own else []
    try:
        whole = compose("config", [*overrides, *search_path], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise _refusal(error, overrides, own) from error
    if own is not None:
        own_files.check_content(own, whole.hydra.runtime.choices)
    for key in whole:
        if key not in (HYDRA, *KEYS):
            raise unknown_key(str(key), KEYS)
    for key in KEYS:
        if key not in whole and key != "method":
            raise UsageError(f"{key}: is missing; {key}={'NAME' if key in GROUPS else 'VALUE'} puts it there")
    return Composed(whole, overrides)


def _refusal(error: Exception, overrides: list[str], own: Path | None) -> UsageError:
    """What Hydra complains of, in one sentence."""
    text = str(error)
    if found := re.match(r"Could not override '([^']+)'", text):
        return _no_such_key(found.group(1), overrides, own)
    if found := re.match(r"Could not append to config. An item is already at '([^']+)'", text):
        return UsageError(f"+{found.group(1)}: is there already; write {found.group(1)}=VALUE without the plus")
    if found := re.match(r"Could not delete from config\. '([^']+)' does not exist", text):
        return UsageError(f"~{found.group(1)}: there is no value to take out; {found.group(1)}=VALUE sets one")
    if found := re.match(r"Error merging override (.+)", text):
        if match := re.search(r"Cannot merge (\w+) with (\w+)", str(error.__cause__)):
            return UsageError(f"{found.group(1)}: should be {MERGED[match.group(2)]}")
        return UsageError(f"{found.group(1)}: {_first_line(error.__cause__ or error)}")
    if found := re.search(r"Could not find '?architecture/default_([\w/]+)'?", text):
        return UsageError(f"dataset={found.group(1)} has no usual architecture: add architecture=NAME")
    if found := re.search(r"Error resolving interpolation 'default_\$\{dataset\}'", text):
        return UsageError("dataset: is missing; choose one with dataset=NAME")
    if found := re.match(r"In '([^']+)': Could not (?:find|load) '([^']+)'", text):
        return UsageError(f"{found.group(2)}: there is no such configuration, which {found.group(1)} asks for")
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return UsageError(f"{error.full_key}: {_first_line(error)}")
    return UsageError(_first_line(error))


def _no_such_key(path: str, overrides: list[str], own: Path | None) -> UsageError:
    """Compose without the override that failed, to see which keys stand beside the one it names."""
    others = [text for text in overrides if not re.match(rf"[+~]*{re.escape(path)}(@|=|$)", text)]
    *parents, _ = path.split(".")
    siblings: Iterable[Any] = KEYS
    if path in KEYS:
        return UsageError(f"{path}: has settings of its own, {path}.KEY=VALUE")
    if parents and len(others) < len(overrides):
        job = _compose(others, own)
        if parents[0] == "method" and "method" not in job.config:
            return UsageError(f"{path}: no method is chosen; add +method=NAME")
        node: Any = job.hydra if parents[0] == "hydra" else job.config.get(parents[0])
        for parent in parents[1:]:
            node = node.get(parent) if isinstance(node, DictConfig) else None
        if not isinstance(node, DictConfig):
            return UsageError(f"{path}: there is no key {'.'.join(parents)}")
        siblings = node.keys()
    return unknown_key(path, [str(name) for name in siblings if name != "_target_"])


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines and error.__cause__ is not None:
        return f"a reference, ${{...}}, cannot be read: {_first_line(error.__cause__)}"
    return lines[0] if lines else type(error).__name__
