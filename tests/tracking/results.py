"""Result files as jobs leave them."""

from pathlib import Path

from study.metrics.description import Description
from study.tracking.result import ARTIFACTS, Result

PROPERTIES = {
    "accuracy": Description(label="accuracy", unit="rate", higher_is_better=True, role="accuracy"),
    "attack_success_rate": Description(label="ASR", unit="rate", higher_is_better=False, protocol="PGD, 40 steps"),
    "aaod": Description(label="AAOD", unit="rate", higher_is_better=False),
    "repair_rate": Description(label="repair rate", unit="rate", higher_is_better=True, role="repaired"),
    "time/repair": Description(label="repair time", unit="seconds", higher_is_better=False, role="time"),
    "cost/labels": Description(label="labels", unit="count", summary=False),
}
"""What the metrics of a job state; `written` names aaod as one that does not apply."""


def written(
    folder: Path, key: str = "k0", *, status: str = "FINISHED", started: float = 1_700_000_000.25, points: int = 3
) -> Path:
    """A job's folder: a result with two metrics, one curve of `points` points, and two artifacts."""
    (folder / ARTIFACTS / "repaired").mkdir(parents=True)
    (folder / ARTIFACTS / "config.yaml").write_text("seed: 0\n")
    (folder / ARTIFACTS / "repaired" / "model.json").write_text("{}")
    Result(
        key=key,
        experiment="study",
        run_name=f"arachne digits {key}",
        status=status,  # type: ignore[arg-type]
        tags={"method": "arachne", "dataset": "digits", "outcome": "repaired", "git_commit": "0123abc", "key": key},
        params={"method.population": "100", "dataset.name": "digits", "odd@(name)": "x", "long": "y" * 9000},
        metrics={"after/accuracy": 0.9375, "after/aaod": float("nan"), "gain/aaod": float("inf")},
        curves={"repair/fitness": [(step, 1 / (step + 1)) for step in range(points)]},
        properties=PROPERTIES,
        not_applicable={"aaod": "the data set has no sensitive groups"},
        started=started,
        ended=started + 60,
    ).write(folder)
    return folder
