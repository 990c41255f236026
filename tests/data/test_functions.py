"""The data sets of code, on small files in their publishers' layouts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from study.data import hub
from study.data.bugs2fix import Bugs2Fix
from study.data.code_tokens import NUMBER, PADDING, UNKNOWN
from study.data.defects import Defects
from study.data.functions import Functions
from study.data.swapped_operands import SwappedOperands
from study.errors import UsageError
from tests.data.programs import PARTS, SETS, devign, pairs, write_lines, write_programs

REAL = os.environ.get("STUDY_DATA", "")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_programs(tmp_path, monkeypatch)


def loaded(data: type[Functions], folder: Path, seed: int = 0, **settings: Any) -> Functions:
    module = data(root=str(folder), **settings)  # type: ignore[call-arg]  # they have defaults
    module.load(seed)
    return module


def texts(module: Functions) -> dict[str, list[str]]:
    corpus = module._corpus
    return {name: [corpus.texts[place] for place in places.tolist()] for name, places in module.indices.items()}


@pytest.mark.parametrize("name", SETS)
def test_functions_are_ids_of_one_length_in_the_official_parts(folder: Path, name: str) -> None:
    module = loaded(SETS[name], folder, length=24)
    assert (module.kind, module.input_shape, module.num_classes) == ("tokens", (24,), 2)
    assert module.follows["length"] == 24 and module.follows["num_tokens"] == module.num_tokens
    assert module.threat is None and not module.random_splits
    inputs = torch.cat([split.tensors().inputs for split in module.splits.values()])
    assert inputs.dtype == torch.int64 and 0 < int(inputs.max()) < module.num_tokens
    per_item = 2 if name == "bugs2fix" else 1
    repeated = 2 if name == "bugs2fix" else 0
    assert len(module.splits["validation"]) == per_item * PARTS["valid"] - repeated
    assert len(module.splits["repair"]) + len(module.splits["test"]) == per_item * PARTS["test"]
    assert module.splits["train"].labels.double().mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("seed", range(3))
def test_neither_a_text_nor_what_belongs_together_is_divided(folder: Path, name: str, seed: int) -> None:
    module = loaded(SETS[name], folder, seed)
    found = {split: set(held) for split, held in texts(module).items()}
    assert sum(len(held) for held in found.values()) == len(set().union(*found.values()))
    units = {split: set(module._corpus.units[places].tolist()) for split, places in module.indices.items()}
    assert not units["repair"] & units["test"]
    sizes = len(module.splits["repair"]), len(module.splits["test"])
    assert abs(sizes[0] - sizes[1]) <= 8


def test_a_text_that_two_parts_share_stays_in_the_later_one(folder: Path) -> None:
    found = texts(loaded(Bugs2Fix, folder))
    assert not [
        text for split in ("train", "validation") for text in found[split] if "shared" in text and ". f3 " in text
    ]
    assert sum("shared" in text for text in found["train"]) == 2  # of the pairs 43 and 53, which test does not have
    assert sum("shared" in text for text in found["repair"] + found["test"]) == 4


def test_without_a_train_part_the_validation_part_is_divided_by_pairs(folder: Path) -> None:
    write_lines(folder / "code" / "bugs2fix_small.jsonl", (line for line in pairs() if line["split"] != "train"))
    first, second = loaded(Bugs2Fix, folder, 0), loaded(Bugs2Fix, folder, 1)
    assert len(first.splits["train"]) + len(first.splits["validation"]) == 2 * PARTS["valid"] - 2
    assert 0 < len(first.splits["validation"]) <= 4
    assert torch.equal(first.indices["train"], second.indices["train"]), "the vocabulary must not follow the seed"
    assert not torch.equal(first.indices["test"].sort().values, second.indices["test"].sort().values)
    units = {split: set(first._corpus.units[places].tolist()) for split, places in first.indices.items()}
    assert not units["train"] & units["validation"]


def test_the_vocabulary_is_that_of_the_train_split(folder: Path) -> None:
    module = loaded(Defects, folder)
    known = module._corpus.vocabulary.places
    assert "_train" in known and "_test" not in known and "_valid" not in known
    test = module.splits["test"].tensors().inputs
    assert (test == UNKNOWN).any(1).all() and (test == NUMBER).any() and (test == PADDING).any()
    assert not (module.splits["train"].tensors().inputs[:, 3] == UNKNOWN).any()
    assert loaded(Defects, folder, vocabulary=12).num_tokens == 12


def test_the_fingerprint_knows_length_and_vocabulary(folder: Path) -> None:
    marks = {loaded(SwappedOperands, folder, **kw).fingerprint for kw in ({}, {"length": 30}, {"vocabulary": 20})}
    assert len(marks) == 3
    assert loaded(SwappedOperands, folder, 1).fingerprint == loaded(SwappedOperands, folder, 0).fingerprint


@pytest.mark.parametrize("name", SETS)
def test_inputs_come_with_other_names_too(folder: Path, name: str) -> None:
    module, again = loaded(SETS[name], folder), loaded(SETS[name], folder)
    assert module.renamable
    places = torch.tensor([3, 0, 5])
    for split, split_again in zip(module.splits.values(), again.splits.values(), strict=True):
        (renamed,) = split.variants.values()
        changed, inputs = renamed(places, None), split.tensors().inputs[places]
        assert changed.shape == inputs.shape and (changed != inputs).any(1).all()
        assert torch.equal(changed, split_again.variants["renamed"](places, None))


@pytest.mark.parametrize("name", SETS)
def test_missing_truncated_and_mixed_up_files_are_one_sentence(folder: Path, name: str) -> None:
    data = SETS[name]
    file = next(iter(data.files))
    path = folder / "code" / file
    text = path.read_text()
    other = folder / "code" / next(iter(SETS["bugs2fix" if name != "bugs2fix" else "defects"].files))
    for content, sentence in (
        (text[: len(text) // 3], "is no JSON, as if cut off"),
        (text[: len(text) // 3].rpartition("\n")[0], "cut off, or another one"),
        (other.read_text(), "line 1 has no .* as expected; a line holds"),
        ("[1]\n", "line 1 "),
        ("", "holds 0 functions of the (train|valid) part"),
    ):
        path.write_text(content)
        with pytest.raises(UsageError, match=sentence) as refusal:
            loaded(data, folder)
        assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
    path.unlink()
    with pytest.raises(UsageError, match=f"does not hold {file}.*how to get it: "):
        loaded(data, folder)


def test_defects_and_bugs2fix_come_from_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package `datasets`, which answers as the hub does."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {"defect": {}, "refinement": {}}
    for ours, theirs in (("train", "train"), ("valid", "validation"), ("test", "test")):
        lines = [line for part, line in devign() if part == ours]
        found["defect"][theirs] = [
            {
                **{key: line[key] for key in ("project", "commit_id", "func")},
                "id": line["idx"],
                "target": bool(line["target"]),
            }
            for line in lines
        ]
        found["refinement"][theirs] = [
            {"id": line["pair"], "buggy": line["buggy"], "fixed": line["fixed"]}
            for line in pairs()
            if line["split"] == ours
        ]

    def load_dataset(name: str, configuration: str = "") -> dict[str, list[dict[str, Any]]]:
        assert configuration == ("small" if "refinement" in name else "")
        return found[name.rpartition("_")[2] if "refinement" in name else "defect"]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setattr(hub, "hub_silence", lambda *_: None)
    for data in (Defects, Bugs2Fix):
        before = loaded(data, folder).fingerprint
        for file in data.files:
            (folder / "code" / file).unlink()
        assert loaded(data, folder, download=True).fingerprint == before
    lost = found["defect"]["test"].pop()
    (folder / "code" / "defects" / "test.jsonl").unlink()
    with pytest.raises(UsageError, match="^dataset.download=true: defects/test.jsonl holds 39 functions .* has 40"):
        loaded(Defects, folder, download=True)
    assert [path.name for path in (folder / "code" / "defects").glob("*.jsonl")].count("test.jsonl") == 0
    found["defect"]["test"].append(lost)
    loaded(Defects, folder, download=True)


def test_a_download_without_the_package_or_the_hub_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "code" / "defects" / "valid.jsonl").unlink()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'repair-study\[hub\]'"):
        loaded(Defects, folder, download=True)
    answers: list[str | None] = ["no way there", None]
    monkeypatch.setattr(hub, "hub_silence", lambda *_: answers.pop(0))

    def load_dataset(name: str) -> None:
        raise ConnectionError("no\nroute")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    for reason in ("no way there", "no route"):
        with pytest.raises(
            UsageError, match=rf"co/datasets/google/code_x\w+ could not be fetched \({reason}\); get it by hand and put"
        ):
            loaded(Defects, folder, download=True)
    assert not (folder / "code" / "defects" / "valid.jsonl").exists()


@pytest.mark.parametrize("name", ["swapped_operands", "bugs2fix"])
def test_the_real_files_are_read(name: str) -> None:
    data = SETS[name]
    if not all((Path(REAL) / "code" / file).is_file() for file in data.files):
        pytest.skip("STUDY_DATA does not hold them")
    module = loaded(data, Path(REAL), 10, limit=50)
    assert all(len(split) == 50 for split in module.splits.values())
    for place in ("description", "licence", "citation", "source"):
        assert getattr(data, place)
