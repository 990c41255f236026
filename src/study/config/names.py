"""What a job is called by, known from its configuration alone; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NO_METHOD = "none"
"""In place of an approach: the faulty model is measured alone."""


@dataclass(frozen=True)
class Names:
    """The chosen options of a job's groups, and its seeds."""

    method: str
    dataset: str
    architecture: str
    metric: str
    safeguard: str
    seed: int
    subject_seed: int

    @classmethod
    def of(cls, values: Mapping[str, Any], choices: Mapping[str, str]) -> Names:
        """From a resolved configuration and Hydra's choices; a network that is no option is called by its class."""
        architecture = choices.get("architecture", "")
        if architecture.startswith("default_") or not architecture:
            architecture = str(values["architecture"]["_target_"]).rpartition(".")[2].lower()
        return cls(
            method=choices.get("method", NO_METHOD),
            dataset=choices["dataset"],
            architecture=architecture,
            metric=choices["metric"],
            safeguard=choices["safeguard"],
            seed=values["seed"],
            subject_seed=values["subject"]["seed"],
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
            "architecture": self.architecture,
            "safeguard": self.safeguard,
            "seed": str(self.seed),
            "subject_seed": str(self.subject_seed),
        }
