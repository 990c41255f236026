"""The package works from an installed wheel: conf/ and the report's template travel in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_wheel_runs_from_any_folder(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path / "dist"), str(ROOT)], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    (tmp_path / "elsewhere").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STUDY_")}
    environment["PYTHONPATH"] = str(site)

    def told(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert told("-c", "from study.storage.paths import conf_folder; print(conf_folder())").strip() == str(
        site / "study/conf"
    )
    assert "repaired" in told("-m", "study", "+method=finetune", "method.epochs=1", "metric=fast", "faulty.epochs=4")
    assert "report.html" in told("-m", "study.report")
