"""Result files as jobs leave them."""

from pathlib import Path

from study.metrics.description import Description
from study.tracking.result import ARTIFACTS, Origin, Result

PROPERTIES = {
    "accuracy": Description(label="accuracy", unit="rate", higher_is_better=True, role="accuracy"),
    "attack_success_rate": Description(label="ASR", unit="rate", higher_is_better=False, protocol="PGD, 40 steps"),
    "aaod": Description(label="AAOD", unit="rate", higher_is_better=False),
    "repair_rate": Description(label="repair rate", unit="rate", higher_is_better=True, role="repaired"),
    "time/repair": Description(label="repair time", unit="seconds", higher_is_better=False, role="time"),
    "cost/labels": Description(label="labels", unit="count", summary=False),
}
"""What the metrics of a job state; `written` names aaod as one that does not apply."""


TAGS = {
    "method": "arachne",
    "approach": "arachne population=50",
    "dataset": "digits",
    "architecture": "mlp",
    "subject_name": "digits / mlp, faulty.epochs=2",
    "seed": "0",
    "subject_seed": "0",
    "outcome": "repaired",
    "data": "d0",
    "git_commit": "0123abc",
}
ORIGIN = Origin(faulty="f0", folder="../faulty/f0", items={"train": 60, "validation": 20, "repair": 20, "test": 80})


def written(
    folder: Path,
    key: str = "k0",
    *,
    status: str = "FINISHED",
    started: float = 1_700_000_000.25,
    points: int = 3,
    origin: Origin = ORIGIN,
) -> Path:
    """A job's folder: a result with three metrics, one curve of `points` points, an artifact and a repaired model.

    The files of the faulty model lie beside it.
    """
    (folder / ARTIFACTS / "repaired").mkdir(parents=True)
    (folder / ARTIFACTS / "config.yaml").write_text("seed: 0\n")
    (folder / ARTIFACTS / "repaired" / "model.json").write_text("{}")
    (folder / ARTIFACTS / "repaired" / "repaired.safetensors").write_bytes(b"repaired " + key.encode())
    if origin.folder:
        (folder / origin.folder).mkdir(parents=True, exist_ok=True)
        for name in ("faulty.safetensors", "history.safetensors", "model.json", "training.json"):
            (folder / origin.folder / name).write_text(f"{name} {origin.faulty}")
    Result(
        key=key,
        experiment="study",
        run_name=f"arachne digits {key}",
        status=status,  # type: ignore[arg-type]
        tags=TAGS | {"key": key},
        params={"method.population": "100", "dataset.name": "digits", "odd@(name)": "x", "long": "y" * 9000},
        metrics={
            "before/accuracy": 0.9,
            "after/accuracy": 0.9375,
            "after/repair_rate": 5 / 8,
            "after/aaod": float("nan"),
            "gain/aaod": float("inf"),
        },
        curves={"repair/fitness": [(step, 1 / (step + 1)) for step in range(points)]},
        properties=PROPERTIES,
        not_applicable={"aaod": "the data set has no sensitive groups"},
        started=started,
        ended=started + 60,
        origin=origin,
    ).write(folder)
    return folder
