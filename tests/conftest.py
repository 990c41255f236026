"""What holds for every test: one thread, as results depend on it, and a home folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """STUDY_DATA stays as it is: tests of downloaded data need it."""
    torch.set_num_threads(1)
    monkeypatch.setenv("STUDY_HOME", str(tmp_path))
