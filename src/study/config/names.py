"""What a job is called by, known from its configuration alone; nothing here imports torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from study.config.settings import resolved

NO_METHOD = "none"
"""In place of an approach: the faulty model is measured alone."""
NO_SAFEGUARD = "none"
PLACES = ("root", "file", "name", "download", "in_memory_gib")
"""Settings of a data set that say where it lies, what it is called and how it is read, not what it holds."""
INNER = "dataset@dataset.of"
"""The choice of the data set that dataset=skewed is made of."""
FOLLOWS_SEED = "${seed}"
"""The setting `subject.seed` where each seed of a sweep has a split and a faulty model of its own."""
LONGEST_VALUE = 40
"""Characters of a setting's value in a name."""


@dataclass(frozen=True)
class Names:
    """What a job is called by: the chosen options of its groups, its seeds, and the settings that somebody changed.

    dataset: what the user calls it; dataset_option: the chosen option (a folder of pictures is `pictures`, the option
    `image_folder`); subject_seed: of the split and the faulty model, None where it follows `seed`; approach: the method
    and the safeguard with the settings that the command line changes (`arachne population=50 + soft_voting`); subject:
    likewise data set, architecture and checkpoint (`digits / mlp, faulty.epochs=2`).
    """

    method: str
    dataset: str
    dataset_option: str
    architecture: str
    metric: str
    safeguard: str
    seed: int
    subject_seed: int | None
    approach: str
    subject: str

    @classmethod
    def of(
        cls,
        config: DictConfig,
        choices: Mapping[str, str],
        overrides: Sequence[str],
        values: Mapping[str, Any] | None = None,
    ) -> Names:
        """From a configuration with its interpolations, Hydra's choices, and the arguments of the one job.

        A network that is no option is called by its class. values: of the configuration, if they are resolved already.
        """
        values = resolved(config) if values is None else values
        architecture = choices.get("architecture", "")
        if architecture.startswith("default_") or not architecture:
            architecture = str(values["architecture"]["_target_"]).rpartition(".")[2].lower()
        method, safeguard = choices.get("method", NO_METHOD), choices["safeguard"]
        dataset = _dataset(values["dataset"], choices["dataset"])
        if INNER in choices and not values["dataset"].get("name"):
            dataset = f"{_dataset(values['dataset']['of'], choices[INNER])}_s"
        changed = _changed(values, overrides)
        return cls(
            method=method,
            dataset=dataset,
            dataset_option=choices["dataset"],
            architecture=architecture,
            metric=choices["metric"],
            safeguard=safeguard,
            seed=values["seed"],
            subject_seed=None if _follows(config) else values["subject"]["seed"],
            approach=_approach(method, safeguard, changed),
            subject=_subject(dataset, architecture, values["faulty"].get("checkpoint"), changed),
        )

    @property
    def run(self) -> str:
        """Short enough for the table of the MLflow UI."""
        return f"{self.method} {self.dataset} s{self.seed}"

    def tags(self) -> dict[str, str]:
        """What the UI and the report group and filter by."""
        return {
            "method": self.method,
            "dataset": self.dataset,
            "dataset_option": self.dataset_option,
            "architecture": self.architecture,
            "safeguard": self.safeguard,
            "seed": str(self.seed),
            "subject_seed": str(self.seed if self.subject_seed is None else self.subject_seed),
            "approach": self.approach,
            "subject_name": self.subject,
        }


def _follows(config: DictConfig) -> bool:
    unresolved: Any = OmegaConf.to_container(config.subject, resolve=False)
    return bool(unresolved["seed"] == FOLLOWS_SEED)


def _dataset(settings: Mapping[str, Any], option: str) -> str:
    """The name that the user gave, else that of the folder or file; data that are always the same have neither."""
    if "name" not in settings:
        return option
    if settings["name"]:
        return str(settings["name"])
    place = settings.get("root") or settings.get("file")
    if not place:
        return option
    path = Path(os.path.normpath(Path(place).expanduser().absolute()))
    return (path.stem if path.is_file() else path.name) or option


def _changed(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, str]:
    """The settings that the command line changes, sorted by name, as they came out."""
    keys = {text.lstrip("+").partition("=")[0].partition("@")[0] for text in overrides if not text.startswith("~")}
    changed = {}
    for key in sorted(keys):
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        name = key.removesuffix("._target_")
        if "." in name:
            changed[name] = _text(value if name == key else str(value).rpartition(".")[2])
    return changed


def _approach(method: str, safeguard: str, changed: Mapping[str, str]) -> str:
    if method == NO_METHOD:
        return "faulty model"
    settings = {group: _listed(changed, group) for group in ("method", "safeguard")}
    parts = [" ".join([method, *settings["method"]])]
    if safeguard != NO_SAFEGUARD:
        parts.append(" ".join([safeguard, *settings["safeguard"]]))
    return " + ".join(parts)


def _listed(changed: Mapping[str, str], group: str) -> list[str]:
    return [f"{key.removeprefix(f'{group}.')}={value}" for key, value in changed.items() if key.startswith(f"{group}.")]


def _subject(dataset: str, architecture: str, checkpoint: str | None, changed: Mapping[str, str]) -> str:
    """Where weights are brought along, the recipe of training does not matter; nor a setting that the name tells."""
    left_out = {f"dataset.{of}{setting}" for of in ("", "of.") for setting in PLACES} | {"faulty.checkpoint"}
    left_out |= {key for key, value in changed.items() if key.startswith("dataset.") and value == dataset}
    groups = ("dataset", "architecture", "subject", *(() if checkpoint else ("faulty",)))
    settings = [
        f"{key}={value}" for key, value in changed.items() if key.partition(".")[0] in groups and key not in left_out
    ]
    return ", ".join([f"{dataset} / {architecture}", *([Path(checkpoint).name] if checkpoint else []), *settings])


def _text(value: Any) -> str:
    """A value as one would type it, cut where it is long."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case list():
            text = f"[{','.join(map(_text, value))}]"
        case {"_target_": str(target)}:
            text = target.rpartition(".")[2]
        case dict():
            text = f"{{{','.join(f'{key}:{_text(item)}' for key, item in value.items())}}}"
        case _:
            text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
