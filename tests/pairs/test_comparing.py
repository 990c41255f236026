"""Two models from files, measured and recorded as a job's."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import study
from study.errors import UsageError
from study.pairs import comparing
from study.pairs.request import Request
from study.storage.paths import multirun
from study.tracking.result import Result
from tests import onnx_programs
from tests.commands import FAST, finished_keys, run_job

REPAIR = ("+method=finetune", "method.epochs=2")
SETTINGS = tuple(text for text in FAST if not text.startswith("faulty."))


@pytest.fixture(scope="module")
def finished(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with one job, whose models lie in files of every form beside it."""
    home = tmp_path_factory.mktemp("home")
    (home / "mlruns").mkdir()
    shutil.copy(empty_store, home / "mlruns" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_HOME", str(home))
        _, folder = run_job(*REPAIR, *FAST, "metric=all", name="job")
        (weights,) = home.glob(".cache/faulty/*/faulty.safetensors")
        shutil.copy(weights, home / "old.safetensors")
        shutil.copy(folder / "artifacts" / "repaired" / "repaired.safetensors", home / "new.safetensors")
        new = study.load(folder)
        torch.save({"state_dict": new.get_submodule("net").state_dict()}, home / "new.pt")
        onnx_programs.write(home / "new.onnx", list(layers_of(new)), (1, 8, 8))
        torch.jit.trace(new, torch.rand(2, 1, 8, 8)).save(str(home / "script.pt"))
        yield home


@pytest.fixture
def home(finished: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with these files, and a store that knows nothing of them."""
    for name in ("multirun", ".cache"):
        shutil.copytree(finished / name, tmp_path / name, dirs_exist_ok=True)
    for file in (path for path in finished.iterdir() if path.is_file()):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def layers_of(model: nn.Module) -> nn.Sequential:
    """Of a perceptron."""
    layers = model.get_submodule("net.layers")
    assert isinstance(layers, nn.Sequential)
    return layers


def run(*arguments: str) -> str:
    def crashed(*_: Any) -> None:
        raise AssertionError("crashed")

    return comparing.compare(Request.of([*SETTINGS, *arguments]), crashed)


def results() -> list[Result]:
    """Of the comparisons, in the order in which they ran."""
    return [Result.read(path.parent) for path in sorted(multirun().glob("20*/*/result.json"))]


def test_it_measures_what_the_job_did_with_the_same_two_models(home: Path) -> None:
    assert run("before=old.safetensors", "after=new.safetensors", "metric=all") == "repaired"
    (folder,) = (path.parent for path in multirun().glob("20*/*/result.json"))
    job, own = Result.read(home / "multirun" / "job"), Result.read(folder)
    of_repair = {"time/repair", "time/repair_cpu", "time/evaluation", "cost/steps", "cost/peak_memory"}
    of_repair |= {"cost/repair_set_fixed", "cost/forward_passes", "cost/backward_passes"}
    shared = job.metrics.keys() - of_repair
    assert {name: own.metrics[name] for name in shared} == {name: job.metrics[name] for name in shared}
    assert own.metrics.keys() - job.metrics.keys() == {"before/train_accuracy"}  # as under every checkpoint
    assert own.properties.keys() >= {"attack_success_rate", "cost/weights_changed"}
    tables = [
        pyarrow.parquet.read_table(each / "artifacts" / "predictions.parquet")
        for each in (home / "multirun" / "job", folder)
    ]
    assert tables[0].equals(tables[1])
    pictures = {path.name for path in (folder / "artifacts").iterdir()}
    assert pictures >= {"confusion.png", "fixed.png", "broken.png", "layers.csv", "classes.csv"}
    tags = own.tags
    assert (tags["method"], tags["approach"], tags["outcome"], tags["changed"]) == (
        "compare",
        "compare new.safetensors",
        "repaired",
        "true",
    )
    inputs = torch.rand(3, 1, 8, 8)
    assert study.load(folder)(inputs).equal(study.load(home / "multirun" / "job")(inputs))
    assert own.key in finished_keys()


def test_it_stands_beside_the_approaches_that_repair_the_same_checkpoint(home: Path) -> None:
    _, folder = run_job(*REPAIR, *FAST, f"faulty.checkpoint={home / 'old.safetensors'}", name="beside")
    run("before=old.safetensors", "after=new.safetensors")
    job, (own,) = Result.read(folder), results()
    assert own.tags["subject"] == job.tags["subject"] and own.tags["row"] != job.tags["row"]
    assert own.tags["subject_name"] == job.tags["subject_name"] == "digits / mlp, old.safetensors"
    assert own.origin is not None and job.origin is not None and own.origin.checkpoint == job.origin.checkpoint


def test_an_equal_comparison_is_not_run_again_wherever_the_files_lie(home: Path) -> None:
    pair = ("before=old.safetensors", "after=new.safetensors")
    assert run(*pair) == "repaired"
    (home / "elsewhere").mkdir()
    shutil.copy("new.safetensors", "elsewhere/other.safetensors")
    assert run(pair[0], "after=elsewhere/other.safetensors") == "skipped"
    assert len(results()) == 1
    assert run(*pair, "force=true") == "repaired"
    assert run(*pair, "seed=1") == "repaired"  # another split
    assert run(pair[0], "after=old.safetensors") == "repaired"
    assert run(*pair, "normalised=false") == "repaired"
    keys = [result.key for result in results()]
    assert keys[0] == keys[1] and len(set(keys)) == 4
    unchanged = results()[3]
    assert unchanged.tags["changed"] == "false" and unchanged.metrics["after/churn"] == 0


@pytest.mark.parametrize("after", ["new.pt", "new.onnx", "script.pt", "multirun/job"])
def test_every_form_of_file_gives_the_same_answers(home: Path, after: str) -> None:
    trust = ["trust=[torchscript]"] if after == "script.pt" else []
    assert run("before=old.safetensors", f"after={after}", "metric=all", *trust) == "repaired"
    (own,), job = results(), Result.read(home / "multirun" / "job")
    for name in ("after/accuracy", "after/repair_rate", "after/negative_flip_rate", "before/accuracy"):
        assert own.metrics[name] == job.metrics[name], name
    assert own.metrics["after/brier_score"] == pytest.approx(job.metrics["after/brier_score"], abs=1e-6)
    if after == "new.onnx":
        assert "without a gradient" in own.not_applicable["attack_success_rate"]
        assert "without a gradient" in own.not_applicable["margin_pgd_accuracy"]
    else:
        assert own.metrics["after/attack_success_rate"] == pytest.approx(job.metrics["after/attack_success_rate"])
    stored = list(multirun().glob("20*/*/artifacts/repaired/model.json"))
    assert bool(stored) == (after in ("new.pt", "multirun/job"))
    assert own.origin is not None and own.origin.folder == ""


def test_two_programs_are_a_subject_of_their_own(home: Path) -> None:
    shutil.copy("new.onnx", "old.onnx")
    run("before=old.onnx", "after=new.onnx", "normalised=false")
    (own,) = results()
    assert own.tags["subject_name"] == "digits / onnx, old.onnx" and own.tags["architecture"] == "onnx"
    assert own.tags["changed"] == "false"  # the same program under two names
    assert own.params["method.after.normalised"] == "False" and len(own.params["method.after.sha256"]) == 64


def test_inputs_are_normalised_for_a_network_that_takes_them_so(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(50.0, 9.0, (400, 3)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", inputs=rows, labels=(rows[:, 0] > 50).astype(int))
    net = nn.Linear(3, 2)
    net.load_state_dict({"weight": torch.tensor([[-1.0, 0, 0], [1, 0, 0]]), "bias": torch.zeros(2)})
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    subject = ("dataset=arrays", "dataset.file=rows.npz", "architecture=linear")
    (tmp_path / "mine" / "architecture").mkdir(parents=True)
    (tmp_path / "mine" / "architecture" / "linear.yaml").write_text(
        "_target_: torch.nn.Linear\nin_features: 3\nout_features: 2\n"
    )
    line = ("--config-dir", "mine", *subject, "before=net.safetensors", "after=net.safetensors")
    rates = {}
    for normalised in ("true", "after"):
        run(*line, f"normalised={normalised}")
        metrics = results()[-1].metrics
        rates[normalised] = metrics["before/accuracy"], metrics["after/accuracy"]
    assert min(rates["true"]) > 0.85
    assert rates["after"][0] < 0.7 and rates["after"][1] == rates["true"][1]
    assert "the splits are drawn at random: the models may have been trained on test inputs" in caplog.text
    doubt = next(line for line in caplog.messages if "always answering with the largest class" in line)
    assert doubt.startswith("before=net.safetensors: ")  # it was given its inputs as they are


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("after=none.pt",), "after=none.pt: there is no such file or folder"),
        (("after=text.pt",), "after=text.pt: neither a safetensors file nor a plain state dict"),
        (("after=text.onnx",), "after=text.onnx: cannot be read as an ONNX program"),
        (("after=text.pt2",), "after=text.pt2: programs of torch.export are not read"),
        (("after=pickle.pt",), "after=pickle.pt: .*could run code are not opened.*Linear"),
        (("after=mlruns",), "after=mlruns: holds no model.json"),
        (("after=script.pt",), r"after=script.pt: a TorchScript file is a program.*trust=\[torchscript\] lets it run"),
        (("after=cut.pt", "trust=[torchscript]"), "after=cut.pt: cannot be read as TorchScript"),
        (("after=small.onnx",), "after=small.onnx: cannot take inputs of shape 1x8x8"),
        (("after=seven.onnx",), "after=seven.onnx: gives 7 outputs per input; the data set has 10 classes"),
        (("after=new.pt", "architecture.widths=[9]"), "before=old.safetensors does not fit the architecture: layers"),
        (("after=odd.safetensors",), "after=odd.safetensors does not fit the architecture: layers.1.weight is missing"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_sentence_and_leaves_nothing(
    home: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    for name in ("text.pt", "text.onnx", "text.pt2"):
        (home / name).write_text("no model")
    torch.save(nn.Linear(2, 2), home / "pickle.pt")
    save_file({"weight": torch.zeros(2)}, home / "odd.safetensors")
    cut_archive(home / "script.pt", home / "cut.pt")
    if arguments[0].endswith("small.onnx"):
        onnx_programs.write(home / "small.onnx", [nn.Linear(3, 10)], (3,))
    if arguments[0].endswith("seven.onnx"):
        onnx_programs.write(home / "seven.onnx", [nn.Flatten(), nn.Linear(64, 7)], (1, 8, 8))
    with pytest.raises(UsageError, match=sentence) as refusal:
        run("before=old.safetensors", *arguments)
    assert "\n" not in str(refusal.value)
    assert not list(multirun().glob("20*"))


def cut_archive(whole: Path, cut: Path) -> None:
    """An archive of TorchScript without its code."""
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(cut, "w") as target:
        for name in source.namelist():
            if "/code/" not in name:
                target.writestr(name, source.read(name))
