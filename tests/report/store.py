"""Writes runs into a real MLflow store as tracking does: one flat run per job, tags and metrics."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from study.metrics.description import Description
from study.tracking.run import statements

PROPERTIES = {
    "accuracy": Description(
        label="accuracy", unit="rate", higher_is_better=True, role="accuracy", meaning="share of inputs that are right"
    ),
    "repair_rate": Description(label="repair rate", unit="rate", higher_is_better=True, role="repaired"),
    "negative_flip_rate": Description(label="negative flips", unit="rate", higher_is_better=False, role="broken"),
    "aaod": Description(label="AAOD", unit="rate", higher_is_better=False),
    "attack_success_rate": Description(
        label="ASR", unit="rate", higher_is_better=False, maskable=True, protocol="PGD, L-infinity radius 0.15"
    ),
    "time/repair": Description(label="repair time", unit="seconds", higher_is_better=False, role="time"),
}
"""What the runs state about their metrics."""
NOT_APPLICABLE = {"aaod": "the data set has no sensitive groups"}


class Store:
    """A fresh store under `home`, a copy of an empty one, with an experiment called study."""

    def __init__(self, home: Path, empty: Path) -> None:
        self.home = home
        (home / "mlruns").mkdir(parents=True)
        self.uri = f"sqlite:///{shutil.copy(empty, home / 'mlruns' / 'mlflow.db')}"
        self.client = MlflowClient(self.uri)
        self.experiment = self.client.create_experiment("study")
        self.clock = 1_000

    def add(
        self,
        method: str,
        seed: int,
        metrics: dict[str, float],
        *,
        status: str = "FINISHED",
        properties: Mapping[str, Description] = PROPERTIES,
        not_applicable: Mapping[str, str] = NOT_APPLICABLE,
        params: Mapping[str, str] = {},
        measures: Mapping[str, str] = {},
        **tags: str,
    ) -> None:
        """A run with these metrics; a crashed one, or one that was not measured, states nothing about them.

        The keys of its subject and row follow from its names, unless they are given.
        """
        self.clock += 10
        tags = {
            "method": method,
            "level": "model",
            "dataset": "mnist",
            "architecture": "lenet5",
            "seed": str(seed),
            "safeguard": "none",
            "outcome": "repaired",
            "reason": "",
            "changed": "true",
            "gradient_masking": "false",
            "sweep": "first",
        } | tags
        approach = method if tags["safeguard"] == "none" else f"{method} + {tags['safeguard']}"
        tags = {
            "dataset_option": tags["dataset"],
            "subject_seed": str(seed),
            "approach": approach,
            "subject_name": f"{tags['dataset']} / {tags['architecture']}",
            "measures": json.dumps(dict(measures)),
        } | tags
        tags = {"subject": f"key of {tags['subject_name']}", "row": f"key of {tags['approach']}"} | tags
        if metrics:
            tags |= statements(properties, not_applicable)
        run = self.client.create_run(self.experiment, start_time=self.clock, tags=tags)
        values = [Metric(name, value, self.clock, 0) for name, value in metrics.items()]
        settings = [Param(name, value) for name, value in params.items()]
        self.client.log_batch(run.info.run_id, metrics=values, params=settings)
        if status != "RUNNING":
            self.client.set_terminated(run.info.run_id, status, end_time=self.clock + 5)


def measured(accuracy: float, repair_rate: float, flips: float, asr: float, seconds: float) -> dict[str, float]:
    """Metrics of a repaired run whose faulty model had accuracy 0.9 and ASR 0.8."""
    return {
        "before/accuracy": 0.9,
        "after/accuracy": accuracy,
        "gain/accuracy": (accuracy - 0.9) / 0.9,
        "after/repair_rate": repair_rate,
        "after/negative_flip_rate": flips,
        "before/attack_success_rate": 0.8,
        "after/attack_success_rate": asr,
        "gain/attack_success_rate": (0.8 - asr) / 0.8,
        "time/repair": seconds,
    }


def repeated(runs: pd.DataFrame, seeds: int = 3) -> pd.DataFrame:
    """The runs of seed 0 as if every seed had come to the same."""
    first = runs[runs["seed"] == "0"]
    return pd.concat([first.assign(seed=str(seed), subject_seed=str(seed)) for seed in range(seeds)], ignore_index=True)
