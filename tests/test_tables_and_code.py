"""Networks for tables and for tokens, ours and one's own, on our data and on one's own: each pair is repaired."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import Tensor, nn

from study.storage.models import load_model
from study.tracking.result import Result
from tests.commands import prepared, run_job
from tests.data.people import write_people
from tests.data.programs import write_programs

QUICK = ("trainer.threads=1", "trainer.progress=false", "faulty.epochs=2", "method.epochs=1", "+method=finetune")
HERE = __name__
COUNT = 120
NETWORKS = {
    "two": f"_target_: {HERE}.Rows\ncolumns: 2\nclasses: 2",
    "eleven": f"_target_: {HERE}.Rows\ncolumns: 11\nclasses: 2",
    "few": f"_target_: {HERE}.Words\nvocabulary: 20\nclasses: 2",
    "many": f"_target_: {HERE}.Words\nvocabulary: 2000\nclasses: 2",
}
"""One's own, by the names of their files."""


class Rows(nn.Sequential):
    """One's own network for a table."""

    def __init__(self, columns: int, classes: int) -> None:
        super().__init__(nn.Linear(columns, 6), nn.ReLU(), nn.Linear(6, classes))


class Words(nn.Module):
    """One's own network for tokens."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocabulary, 6), nn.Linear(6, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embedding(tokens).mean(1))
        return logits


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Path) -> Path:
    """The folder that the user stands in: our data sets in `data`, and two files of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STUDY_DATA", raising=False)
    write_people(tmp_path / "files", monkeypatch)
    write_programs(tmp_path / "files", monkeypatch)
    noise, number = np.random.default_rng(0), np.arange(COUNT)
    pd.DataFrame({"a": number % 7 + noise.random(COUNT), "b": noise.random(COUNT), "y": number % 2}).to_csv(
        "mine.csv", index=False
    )
    lines = [{"tokens": noise.integers(1, 20, 6).tolist(), "labels": int(n % 2)} for n in number]
    Path("mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    Path("mine/architecture").mkdir(parents=True)
    for name, text in NETWORKS.items():
        Path(f"mine/architecture/{name}.yaml").write_text(text)
    return tmp_path


def own(name: str) -> tuple[str, ...]:
    return ("--config-dir", "mine", f"architecture={name}")


OURS = "dataset.root=files"
PAIRS = {
    "table, our data": ("dataset=german", OURS, "dataset.fewest=2"),
    "table, our data, own network": ("dataset=compas", OURS, "dataset.fewest=2", *own("eleven")),
    "table, own data": (
        "dataset=table",
        "dataset.file=mine.csv",
        "dataset.label=y",
        "architecture=tabular_mlp",
        "dataset.epsilon=0.5",
    ),
    "table, own data, own network": (
        "dataset=table",
        "dataset.file=mine.csv",
        "dataset.label=y",
        *own("two"),
    ),
    "code, our data": ("dataset=swapped_operands", OURS, "dataset.length=40"),
    "code, our data, own network": ("dataset=bugs2fix", OURS, *own("many")),
    "tokens, own data": (
        "dataset=tokens",
        "dataset.file=mine.jsonl",
        "architecture=code_transformer",
        "architecture.pooling=mean",
    ),
    "tokens, own data, own network": ("dataset=tokens", "dataset.file=mine.jsonl", *own("few")),
}


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("pair", PAIRS)
def test_a_network_is_repaired_and_all_is_measured_that_is_defined(pair: str) -> None:
    outcome, folder = run_job(*PAIRS[pair], *QUICK)
    found = Result.read(folder)
    assert outcome in ("repaired", "failure"), found.tags
    reasons = found.not_applicable
    programs = pair.startswith("code")
    if outcome == "repaired":
        assert ("after/renamed_accuracy" in found.metrics) == programs
        assert ("renamed_accuracy" in reasons) == (not programs)
        attacked = pair.startswith("table, our") or pair == "table, own data"
        assert ("attack_success_rate" in reasons) == (not attacked)
        assert ("aaod" in reasons) == (not pair.startswith("table, our"))


@pytest.mark.usefixtures("home")
def test_the_transformer_is_stored_and_read_back() -> None:
    quick = [setting for setting in QUICK if not setting.startswith("method.epochs")]
    line = (*PAIRS["code, our data"], *quick, "metric=fast", "method.epochs=30")
    outcome, folder = run_job(*line)
    assert outcome == "repaired", Result.read(folder).tags
    (job,) = prepared(*line)
    job.data.load(0)
    inputs, labels = job.data.splits["test"].tensors().inputs, job.data.splits["test"].labels
    model = load_model(folder / "artifacts" / "repaired", job.own_classes).eval()
    accuracy = (model(inputs).argmax(1) == labels).double().mean().item()
    assert accuracy == pytest.approx(Result.read(folder).metrics["after/accuracy"])


@pytest.mark.usefixtures("home")
def test_the_usual_network_follows_from_the_data() -> None:
    (job,) = prepared(*PAIRS["code, our data"], *QUICK)
    assert job.architecture["length"] == 40 and job.architecture["num_tokens"] == job.data.num_tokens  # type: ignore[attr-defined]
    (job,) = prepared(*PAIRS["table, our data"], *QUICK)
    assert job.architecture["input_shape"] == [job.data.input_shape[0]] and job.task.threat is not None
