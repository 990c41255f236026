"""Tables in CSV and Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from study.data.table import Table
from study.errors import UsageError

COUNT = 60
PEOPLE = pd.DataFrame(
    {
        "id": [f"p{number}" for number in range(COUNT)],
        "age": np.arange(COUNT) + 18,
        "sex": np.array(["m", "f"])[np.arange(COUNT) % 2],
        "member": np.arange(COUNT) % 3 == 0,
        "weight": np.linspace(40.5, 99.5, COUNT),
        "income": np.array(["low", "high"])[np.arange(COUNT) % 5 // 3],
    }
)


def written(folder: Path, frame: pd.DataFrame = PEOPLE, name: str = "people.csv") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


def loaded(file: Path, **settings: Any) -> Table:
    module = Table(**({"file": str(file), "label": "income", "drop": ["id"]} | settings))
    module.load(0)
    return module


def rows(module: Table) -> torch.Tensor:
    """All inputs, in the order of the file."""
    inputs = torch.cat([split.tensors().inputs for split in module.splits.values()])
    return inputs[torch.cat(list(module.indices.values())).argsort()]


@pytest.mark.parametrize("name", ["people.csv", "people.parquet"])
def test_columns_become_inputs_in_the_order_of_the_file(tmp_path: Path, name: str) -> None:
    module = loaded(written(tmp_path, name=name))
    assert (module.kind, module.input_shape, module.class_names) == ("table", (6,), ["high", "low"])
    number = torch.arange(COUNT)
    expected = {0: 18.0 + number, 1: number % 2 == 1, 2: number % 2 == 0, 3: number % 3 != 0, 4: number % 3 == 0}
    for column, values in expected.items():
        assert torch.equal(rows(module)[:, column], values.float()), column
    assert rows(module)[:, 5].tolist() == pytest.approx(PEOPLE["weight"].tolist())
    labels = torch.cat([split.labels for split in module.splits.values()])
    assert labels[torch.cat(list(module.indices.values())).argsort()].tolist() == [int(n % 5 < 3) for n in range(COUNT)]


def test_numbers_are_normalised_by_the_train_split(tmp_path: Path) -> None:
    module = loaded(written(tmp_path))
    train = module.splits["train"].tensors().inputs
    assert module.mean == pytest.approx([train[:, 0].mean().item(), 0, 0, 0, 0, train[:, 5].mean().item()])
    assert module.std is not None and module.std[1:5] == [1.0] * 4
    assert module.std[0] == pytest.approx(train[:, 0].std(correction=0).item())
    assert loaded(tmp_path / "people.csv", mean=None, std=None).mean is None


def test_only_numbers_can_be_attacked(tmp_path: Path) -> None:
    module = loaded(written(tmp_path), epsilon=2)
    assert module.threat is not None and module.threat.columns == (0, 5)
    assert module.threat.bounds == pytest.approx((18.0, 99.5))
    low, high = module.threat.ball(module.splits["test"].tensors().inputs)
    assert torch.equal(low[:, 1:5], high[:, 1:5]) and (high[:, 0] - low[:, 0] > 1).all()
    assert loaded(tmp_path / "people.csv").threat is None


def test_there_may_be_more_than_two_sensitive_groups(tmp_path: Path) -> None:
    frame = PEOPLE.assign(sex=np.array(["m", "f", "x"])[np.arange(COUNT) % 3])
    module = loaded(written(tmp_path, frame), group="sex", drop=["id"])
    assert module.group_names == ["f", "m", "x"]
    assert set(module.splits["test"].groups.tolist()) == {0, 1, 2}


def test_several_columns_make_a_group_of_each_combination_that_occurs(tmp_path: Path) -> None:
    elder = PEOPLE["age"] > 40
    frame = PEOPLE.assign(race=np.where(elder & (PEOPLE["sex"] == "m"), "white", "black"))
    module = loaded(written(tmp_path, frame), group=["sex", "race"], drop=["id", "race"])
    assert module.group_names == ["f, black", "m, black", "m, white"]  # no woman is white
    for split in module.splits.values():
        inputs = split.tensors().inputs  # age, f, m, ...
        assert split.groups is not None
        assert torch.equal(split.groups, torch.where(inputs[:, 1] == 1, 0, 1 + (inputs[:, 0] > 40).long()))
    assert loaded(tmp_path / "people.csv", group=["sex"]).group_names == ["f", "m"]


def test_the_sensitive_group_stays_an_input_unless_it_is_dropped(tmp_path: Path) -> None:
    kept, dropped = (loaded(written(tmp_path), group="sex", drop=["id", *more]) for more in ([], ["sex"]))
    assert kept.group_names == dropped.group_names == ["f", "m"]
    assert (kept.input_shape, dropped.input_shape) == ((6,), (4,))
    for split in kept.splits.values():
        assert split.groups is not None
        assert torch.equal(split.groups.float(), split.tensors().inputs[:, 2])


def test_a_folder_has_a_file_for_each_split(tmp_path: Path) -> None:
    written(tmp_path, PEOPLE[:40], "all/train.csv")
    written(tmp_path, PEOPLE[40:], "all/test.parquet")
    module = loaded(tmp_path / "all")
    assert {name: len(split) for name, split in module.splits.items()} == {
        "train": 36,
        "validation": 4,
        "repair": 10,
        "test": 10,
    }
    assert module.splits["test"].tensors().inputs[:, 0].min() >= 58
    assert not module.random_splits


def test_a_value_that_only_a_later_part_holds_has_a_column_of_its_own(tmp_path: Path) -> None:
    later = PEOPLE[40:].assign(sex=["d", *PEOPLE["sex"][41:]])
    written(tmp_path, PEOPLE[:40], "all/train.csv")
    written(tmp_path, later, "all/test.csv")
    module = loaded(tmp_path / "all")
    assert module.input_shape == (7,)
    numbers = rows(module)
    assert numbers[:, 1].nonzero().flatten().tolist() == [40]
    assert torch.equal(numbers[:, 1:4].sum(1), torch.ones(COUNT))


def test_classes_can_be_ordered(tmp_path: Path) -> None:
    module = loaded(written(tmp_path), classes=["low", "high"])
    assert module.class_names == ["low", "high"]
    assert not torch.equal(module.splits["train"].labels, loaded(tmp_path / "people.csv").splits["train"].labels)


def test_the_same_table_has_the_same_fingerprint_under_each_seed(tmp_path: Path) -> None:
    module = loaded(written(tmp_path))
    first = module.fingerprint, module.split_hash
    module.load(1)
    assert module.fingerprint == first[0] and module.split_hash != first[1]
    changed = PEOPLE.assign(age=PEOPLE["age"] + 1)
    assert loaded(written(tmp_path, changed, "older.csv")).fingerprint != first[0]


MISSING = PEOPLE.assign(age=PEOPLE["age"].where(PEOPLE["age"] > 20), sex=PEOPLE["sex"].where(PEOPLE["age"] > 18))


@pytest.mark.parametrize(
    ("frame", "settings", "sentence"),
    [
        (PEOPLE, {"label": None}, "dataset.label is not set: .* the columns are id, age, sex"),
        (PEOPLE, {"label": "incom"}, "dataset.label=incom: .*did you mean income"),
        (PEOPLE, {"group": "gender"}, "dataset.group=gender: .*has no such column"),
        (PEOPLE, {"group": ["sex", "rase"]}, "dataset.group=rase: .*has no such column"),
        (PEOPLE, {"group": ["sex", "weight"]}, "dataset.group=weight: holds fractions"),
        (PEOPLE, {"drop": ["ids"]}, "dataset.drop=ids: .*has no such column"),
        (PEOPLE, {"label": "weight"}, "dataset.label=weight: holds fractions"),
        (PEOPLE, {"label": "id", "drop": []}, "dataset.label=id: holds 60 different values in 60 items"),
        (PEOPLE, {"drop": []}, r"60 different texts in the column id.*dataset.drop=\[id\]"),
        (PEOPLE.assign(sex="m"), {"group": "sex"}, "groups are all the same, m; it takes at least two"),
        (MISSING, {}, r"lacks values, in the column\(s\) age \(3\), sex \(1\)"),
        (PEOPLE.assign(day=pd.Timestamp("2026-01-01")), {}, r"times in the column day.*dataset.drop=\[day\]"),
        (PEOPLE[["id", "income"]], {}, "no column is left"),
        (PEOPLE.rename(columns={"age": "Unnamed: 0"}), {}, r"has no name.*dataset.drop=\['Unnamed: 0'\]"),
    ],
)
def test_unusable_tables_are_refused_before_anything_runs(
    tmp_path: Path, frame: pd.DataFrame, settings: dict[str, Any], sentence: str
) -> None:
    module = Table(
        **({"file": str(written(tmp_path, frame, "t.parquet")), "label": "income", "drop": ["id"]} | settings)
    )
    with pytest.raises(UsageError, match=sentence) as refusal:
        module.check()
    assert "dataset." in str(refusal.value) and "\n" not in str(refusal.value)


def test_files_of_a_folder_are_held_against_each_other(tmp_path: Path) -> None:
    written(tmp_path, PEOPLE[:40], "all/train.csv")
    written(tmp_path, PEOPLE[40:].drop(columns="age"), "all/test.csv")
    with pytest.raises(UsageError, match=r"test.csv has no column age; .*train.csv has one"):
        loaded(tmp_path / "all")
    written(tmp_path, PEOPLE[40:], "all/test.parquet")
    with pytest.raises(UsageError, match="test.csv and test.parquet; one of them is enough"):
        loaded(tmp_path / "all")
    (tmp_path / "all" / "train.csv").unlink()
    (tmp_path / "all" / "test.csv").unlink()
    with pytest.raises(UsageError, match="holds no train.csv or train.parquet"):
        loaded(tmp_path / "all")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="broken.parquet cannot be read"):
        loaded(tmp_path / "broken.parquet")
