"""The commands that the README promises."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import FAST, prepared
from tests.data.files import write_images, write_mnist

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = [text for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S) if not kind]
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
JOBS = [line for line in LINES if line.startswith("python -m study ") or line == "python -m study"]
TARGETS = sorted(set(re.findall(r"\bmake ([a-z-]+)", README)))


@pytest.fixture
def surroundings_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with small data, and a network and configuration of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "data"))
    write_mnist(tmp_path / "data" / "MNIST" / "raw")
    write_images(tmp_path / "pictures", {"cat": 12, "dog": 12})
    network = (
        "from torch import nn\n\nclass Net(nn.Sequential):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(3 * 32 * 32, classes))\n"
    )
    (tmp_path / "my_package.py").write_text(network)
    monkeypatch.syspath_prepend(tmp_path)
    (yaml,) = re.findall(r"^```yaml\n(.*?)^```", README, re.M | re.S)
    (tmp_path / "mine" / "architecture").mkdir(parents=True)
    (tmp_path / "mine" / "architecture" / "net.yaml").write_text(yaml.replace("classes: 10", "classes: 2"))
    save = "import torch; from my_package import Net; from safetensors.torch import save_file"
    code = f"{save}; save_file(Net(2).state_dict(), 'net.safetensors')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


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
