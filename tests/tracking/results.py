"""Result files as jobs leave them."""

from pathlib import Path

from study.tracking.result import ARTIFACTS, Result


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
        started=started,
        ended=started + 60,
    ).write(folder)
    return folder
