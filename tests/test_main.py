"""`python -m study`: exit codes, what is written, and a folder that is not the repository; mostly as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from study import __version__ as version
from study.tracking.result import Result
from tests.commands import FAST

Program = Callable[..., tuple[int, str, str]]
MODULE = (sys.executable, "-m", "study")
SCRIPT = (str(Path(sys.executable).with_name("study")),)


def study(
    folder: Path, *arguments: str, command: Sequence[str] = MODULE, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder`."""
    command = [*command, *arguments]
    known = {name: value for name, value in os.environ.items() if not name.startswith("STUDY_")}
    return subprocess.run(command, cwd=folder, env=known | environment, capture_output=True, text=True, timeout=240)


def test_help_is_short_and_needs_no_torch(tmp_path: Path) -> None:
    told = study(tmp_path, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert told.returncode == 0
    assert "python -m study +method=arachne" in told.stdout and "dataset: " in told.stdout
    assert len(told.stdout.splitlines()) < 40
    assert not imported(told.stderr) & {"torch"}
    assert not any(tmp_path.iterdir())


def imported(import_times: str) -> set[str]:
    """The packages that a process imported, as it says on stderr with PYTHONPROFILEIMPORTTIME."""
    lines = [line for line in import_times.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("command", [MODULE, SCRIPT], ids=["module", "script"])
def test_the_version_is_of_this_package_and_needs_nothing_heavy(command: Sequence[str], tmp_path: Path) -> None:
    told = study(tmp_path, "--version", command=command, PYTHONPROFILEIMPORTTIME="1")
    assert (told.returncode, told.stdout) == (0, f"study {version}\n")
    assert not imported(told.stderr) & {"torch", "hydra", "omegaconf", "pydantic"}


def test_a_mistake_ends_with_2_and_writes_nothing(tmp_path: Path) -> None:
    told = study(tmp_path, "-m", "+method=finetune", "seed=0,x", *FAST)
    assert told.returncode == 2
    assert told.stderr == "study: seed=x: should be a whole number\n"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("seed=abc", "seed=abc: should be a whole number"),
        ("+method=arachne method.population=many", "method.population=many: should be a whole number"),
        ("faulty.epochs=-1", "faulty.epochs=-1: should be at least 0 or auto"),
        ("faulty.checkpoint=none.pt", "faulty.checkpoint=none.pt: there is no such file"),
        ("trainer.threads=0", "trainer.threads=0: should be at least 1 or auto"),
        ("tracking.uri=ftp://x", "tracking.uri=ftp://x: use auto"),
    ],
)
def test_most_wrong_values_are_told_before_torch_is_imported(line: str, sentence: str, tmp_path: Path) -> None:
    told = study(tmp_path, *line.split(), PYTHONPROFILEIMPORTTIME="1")
    said = [text for text in told.stderr.splitlines() if not text.startswith("import time:")]
    assert told.returncode == 2
    assert len(said) == 1 and said[0].startswith(f"study: {sentence}")
    assert "pydantic" in imported(told.stderr)
    assert not imported(told.stderr) & {"torch", "mlflow", "pandas"}
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line", ["+method=arachne,joint", "-x", "list", "--cfg job +method=arachn", "-m seed=0 --nothing"]
)
def test_a_command_that_cannot_be_read_ends_with_2(line: str, program: Program, tmp_path: Path) -> None:
    code, told, errors = program(*line.split())
    assert code == 2
    assert errors.startswith("study: ") and len(errors.splitlines()) == 1
    assert not told and os.listdir(tmp_path) == ["mlruns"]


def test_options_may_follow_the_settings(program: Program) -> None:
    code, told, errors = program("+method=finetune,joint", "-m", "seed=0,1", "plan=true")
    assert code == 0, errors
    assert len(told.splitlines()) == 4


@pytest.mark.usefixtures("store")
def test_the_script_finds_modules_of_ones_own_in_the_current_folder(tmp_path: Path) -> None:
    """In the process that checks the jobs, and in joblib's workers that run them."""
    (tmp_path / "own_network.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n"
        "    def __init__(self, classes: int) -> None:\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    (tmp_path / "mine" / "architecture").mkdir(parents=True)
    (tmp_path / "mine" / "architecture" / "net.yaml").write_text("_target_: own_network.Net\nclasses: 10\n")
    line = ["-m", "--config-dir", "mine", "architecture=net", "hydra/launcher=joblib", *FAST]
    told = study(tmp_path, *line, command=SCRIPT)
    assert told.returncode == 0, told.stderr
    (result,) = (tmp_path / "multirun").rglob("result.json")
    assert Result.read(result.parent).status == "FINISHED"


def test_plan_lists_the_jobs_and_writes_nothing(program: Program, tmp_path: Path) -> None:
    code, told, errors = program("-m", "+method=finetune,reassure", "architecture.widths=[]", "plan=true")
    assert code == 0, errors
    finetune, reassure = told.strip().splitlines()
    assert finetune.endswith("finetune digits s0  to do")
    assert "reassure digits s0  unadaptable: " in reassure
    assert os.listdir(tmp_path) == ["mlruns"]


def test_a_search_goes_by_the_results_and_says_what_was_best(program: Program, tmp_path: Path) -> None:
    """Its second job is finished already, and counts by the result of the first."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper.optuna_sweeper")
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "method.epochs=choice(2)"]
    code, told, errors = program("-m", "+method=finetune", "objective=after/accuracy", *search)
    assert code == 0, errors
    (result,) = (tmp_path / "multirun").rglob("result.json")
    accuracy = Result.read(result.parent).metrics["after/accuracy"]
    assert "1 repaired, 1 finished before" in told
    assert f"Best: method.epochs=2 (after/accuracy={accuracy:.4g})" in told


@pytest.mark.usefixtures("store")
def test_ctrl_c_ends_a_multirun_at_once(tmp_path: Path) -> None:
    line = ["-m", "+method=finetune", "seed=0,1", "method.epochs=10000", "metric=fast", "trainer.threads=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "study", *line],
        cwd=tmp_path,
        env=os.environ | {"STUDY_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background SIGINT is ignored, and processes would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    try:
        for text in process.stdout:
            if "repairing" in text:
                break
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert time.monotonic() - start < 30
    assert not list((tmp_path / ".cache" / "repairs").glob("*/repair.json"))


@pytest.mark.slow
def test_a_sweep_in_parallel_processes_shares_one_faulty_model(tmp_path: Path) -> None:
    line = ["-m", "+method=finetune", "seed=0,1,2,3", "subject.seed=0", "hydra/launcher=joblib", "method.epochs=1"]
    told = study(tmp_path, *line, "metric=fast", "faulty.epochs=4")
    assert told.returncode == 0, told.stderr
    assert "4 repaired" in told.stdout
    assert len(list((tmp_path / ".cache" / "faulty").glob("*/faulty.safetensors"))) == 1
