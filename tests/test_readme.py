"""The commands that the README promises."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file
from torch import nn

from tests.commands import FAST, prepared
from tests.data.files import write_mnist, write_photos

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = [text for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S) if not kind]
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
JOBS = [line for line in LINES if line.startswith("python -m study ") or line == "python -m study"]
TARGETS = sorted(set(re.findall(r"\bmake (?:-s )?([a-z][a-z-]*)", README)))


NETWORK = """from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Flatten(), nn.Linear(3 * 32 * 32, classes))
"""


@pytest.fixture
def surroundings_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with small data of every kind, and a network and configuration of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "data"))
    write_mnist(tmp_path / "data" / "MNIST" / "raw")
    write_photos(tmp_path / "pictures", {"cat": 20, "dog": 20})
    np.savez("arrays.npz", inputs=np.zeros((40, 5), np.float32), labels=np.arange(40) % 2)
    rows = [f"{20 + i % 40},{'mf'[i % 2]},{i * i % 2}" for i in range(60)]
    Path("people.csv").write_text("\n".join(["age,sex,income", *rows]))
    Path("reviews.jsonl").write_text("".join(f'{{"tokens": [{i % 7}, 2], "labels": {i % 2}}}\n' for i in range(60)))
    (tmp_path / "my_package.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    (yaml,) = re.findall(r"^```yaml\n(.*?)^```", README, re.M | re.S)
    (tmp_path / "mine" / "architecture").mkdir(parents=True)
    (tmp_path / "mine" / "architecture" / "net.yaml").write_text(yaml.replace("classes: 10", "classes: 2"))
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    save_file(net.state_dict(), "net.safetensors")


@pytest.mark.usefixtures("surroundings_of_a_user")
@pytest.mark.parametrize("line", [line for line in JOBS if "--help" not in line and "trainer=gpu" not in line])
def test_every_command_composes_and_passes_its_checks(line: str) -> None:
    assert prepared(*shlex.split(line)[3:])


def test_every_target_is_in_the_makefile() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    known = {line.split()[0] for line in told.splitlines() if line.strip()}
    assert {"study", "test", "setup", "bench", "ui", "lint"} <= known
    assert set(TARGETS) <= known


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in JOBS if "mnist" not in line and "image_folder" not in line])
def test_every_command_on_digits_runs(line: str, tmp_path: Path) -> None:
    shortened = [] if "--help" in line else [*FAST, "dataset.limit=200"]
    command = [sys.executable, *shlex.split(line)[1:], *shortened]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stderr
