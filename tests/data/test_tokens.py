"""Token sequences in files of every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from study.data.tokens import Tokens
from study.errors import UsageError

SEQUENCES = [[1 + (number + place) % 9 for place in range(1 + number % 4)] for number in range(40)]
LABELS = ["neg", "pos"] * 20


def written(folder: Path, name: str, sequences: list[Any] = SEQUENCES, column: str = "tokens") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    match path.suffix:
        case ".jsonl":
            lines = [json.dumps({column: ids, "labels": label}) for ids, label in zip(sequences, LABELS, strict=False)]
            path.write_text("\n".join(lines) + "\n\n")
        case ".csv":
            texts = [" ".join(map(str, ids)) if isinstance(ids, list) else ids for ids in sequences]
            pd.DataFrame({column: texts, "labels": LABELS[: len(texts)]}).to_csv(path, index=False)
        case ".parquet":
            pd.DataFrame({column: sequences, "labels": LABELS[: len(sequences)]}).to_parquet(path)
    return path


def loaded(file: Path, **settings: Any) -> Tokens:
    module = Tokens(file=str(file), **settings)
    module.load(0)
    return module


def ids(module: Tokens) -> list[list[int]]:
    """All inputs, in the order of the file."""
    inputs = torch.cat([split.tensors().inputs for split in module.splits.values()])
    return inputs[torch.cat(list(module.indices.values())).argsort()].tolist()


def filled(length: int, padding: int) -> list[list[int]]:
    return [(sequence + [padding] * length)[:length] for sequence in SEQUENCES]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_sequences_are_filled_up_to_the_longest(tmp_path: Path, name: str) -> None:
    module = loaded(written(tmp_path, name))
    assert (module.kind, module.input_shape, module.class_names) == ("tokens", (4,), ["neg", "pos"])
    assert ids(module) == filled(4, 0)
    known = {"num_tokens": 10, "padding": 0, "length": 4}
    assert module.follows == {"input_shape": [4], "num_classes": 2, "in_channels": 4} | known
    assert module.threat is None and module.mean is None


def test_length_padding_and_vocabulary_can_be_set(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv")
    assert ids(loaded(file, length=2)) == filled(2, 0)
    module = loaded(file, length=6, padding=11)
    assert ids(module) == filled(6, 11) and module.num_tokens == 12
    assert loaded(file, vocabulary=500).num_tokens == 500
    fingerprints = [loaded(file, **settings).fingerprint for settings in ({}, {"length": 3}, {"vocabulary": 500})]
    assert len(set(fingerprints)) == 3


def test_arrays_and_splits_that_are_given(tmp_path: Path) -> None:
    tokens = np.arange(80).reshape(40, 2) % 7
    np.savez(tmp_path / "a.npz", tokens=tokens, labels=LABELS)
    assert ids(loaded(tmp_path / "a.npz")) == tokens.tolist()
    np.savez(tmp_path / "b.npz", train_ids=tokens, train_y=LABELS, test_ids=tokens[:10], test_y=LABELS[:10])
    module = loaded(tmp_path / "b.npz", column="ids", label="y")
    assert [len(split) for split in module.splits.values()] == [36, 4, 5, 5]
    written(tmp_path, "all/train.jsonl")
    written(tmp_path, "all/test.csv", SEQUENCES[:10])
    assert [len(split) for split in loaded(tmp_path / "all").splits.values()] == [36, 4, 5, 5]


@pytest.mark.parametrize(
    ("name", "text", "settings", "sentence"),
    [
        ("a.csv", "tokens,labels\nhello world,0\n", {}, "'hello world' is no list of token ids"),
        ("a.csv", "tokens,labels\n1 -2,0\n3 4,1\n1 2,0\n3 4,1\n", {}, "whole numbers from 0"),
        ("a.csv", "ids,labels\n1 2,0\n", {}, "dataset.column=tokens: .*has no such column; there are: ids, labels"),
        ("a.csv", "tokens,labels\n1 2,0\n,1\n", {}, "dataset.column=tokens: 1 lines of .*lack it"),
        ("a.jsonl", '{"tokens": [1], "labels": 0}\n{"tokens": [2]}\n', {}, "dataset.label=labels: 1 lines"),
        ("a.jsonl", '{"tokens": [1], "labels": 0}\n{"tokens"', {}, "line 2 of .*a.jsonl is no JSON"),
        ("a.jsonl", "[1, 2]\n", {}, "line 1 of .*a.jsonl is no JSON object"),
        ("a.jsonl", '{"tokens": [1.5], "labels": 0}\n' * 4, {}, "no list of token ids"),
        (
            "a.csv",
            "tokens,labels\n1 2,0\n3 4,1\n1 2,0\n3 4,1\n",
            {"vocabulary": 4},
            "dataset.vocabulary=4: .*at least 5",
        ),
    ],
)
def test_unusable_sequences_are_refused_before_anything_runs(
    tmp_path: Path, name: str, text: str, settings: dict[str, Any], sentence: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=sentence) as refusal:
        Tokens(file=str(tmp_path / name), **settings).check()
    assert "dataset." in str(refusal.value) and "\n" not in str(refusal.value)
