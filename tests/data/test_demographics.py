"""Adult, COMPAS and German credit, on small files in their publishers' layouts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from study.data.adult import Adult
from study.data.compas import Compas
from study.data.demographics import Demographics
from study.data.german import German
from study.errors import UsageError
from study.metrics.robustness import PGD
from tests.data.people import COUNTS, FILTERED, SETS, adult_rows, write_people
from tests.data.servers import serving

REAL = os.environ.get("STUDY_DATA", "")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_people(tmp_path, monkeypatch)


def loaded(data: type[Demographics], folder: Path, **settings: Any) -> Demographics:
    module = data(root=str(folder), **({"fewest": 2} | settings))
    module.load(0)
    return module


def column(module: Demographics, place: int) -> torch.Tensor:
    """Of all items, in the order of the files."""
    inputs = torch.cat([split.tensors().inputs for split in module.splits.values()])
    return inputs[torch.cat(list(module.indices.values())).argsort(), place]


def test_adults_official_test_part_is_halved(folder: Path) -> None:
    module = loaded(Adult, folder)
    sizes = {name: len(split) for name, split in module.splits.items()}
    assert sizes == {"train": 72, "validation": 8, "repair": 20, "test": 20}
    assert not module.random_splits
    assert int(torch.cat([module.indices["repair"], module.indices["test"]]).min()) == 80
    assert column(module, 0).tolist() == [20 + n % 50 for n in (*range(80), *range(40))]
    labels = torch.cat([split.labels for split in module.splits.values()])
    number = torch.cat([torch.arange(80), torch.arange(40)])
    assert torch.equal(labels[torch.cat(list(module.indices.values())).argsort()], (number % 4 == 3).long())
    assert module.class_names == ["<=50K", ">50K"]


def test_what_is_missing_is_a_value_of_its_own(folder: Path) -> None:
    unknown, private = column(loaded(Adult, folder), 2), column(loaded(Adult, folder), 1)
    assert torch.equal(unknown + private, torch.ones(120))
    assert unknown.sum() == 12


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("sex", ["female", "male"]),
        ("race", ["black", "white"]),
        ("age", ["40 and over", "under 40"]),
        (["sex", "race"], ["female, black", "female, white", "male, black", "male, white"]),
    ],
)
def test_groups_are_those_of_the_attribute_or_of_several(folder: Path, group: Any, names: list[str]) -> None:
    module = loaded(Adult, folder, group=group)
    assert module.group_names == names
    groups = torch.cat([split.groups for split in module.splits.values() if split.groups is not None])
    first = names[groups[torch.cat(list(module.indices.values())).argsort()][0]]
    assert first == {"sex": "female", "race": "black", "age": "under 40"}.get(str(group), "female, black")


def test_groups_by_age_are_those_under_it_and_the_others(folder: Path) -> None:
    module = loaded(Adult, folder, group="age")
    groups = torch.cat([split.groups for split in module.splits.values() if split.groups is not None])
    ages = column(module, 0)
    assert 40 in ages.tolist() and module.group_names == ["40 and over", "under 40"]
    assert torch.equal(groups[torch.cat(list(module.indices.values())).argsort()] == 1, ages < 40)


def test_small_groups_are_joined(folder: Path) -> None:
    module = loaded(Compas, folder, group="race", fewest=10)
    assert module.group_names == ["african-american", "caucasian", "other"]
    assert loaded(Compas, folder, group="race").group_names == ["african-american", "caucasian", "native american"]


def test_a_sensitive_attribute_is_no_input_where_it_should_not_be(folder: Path) -> None:
    adult, without = (loaded(Adult, folder, group_is_input=given) for given in (True, False))
    assert adult.input_shape[0] - without.input_shape[0] == 2
    assert adult.group_names == without.group_names
    german, without = (loaded(German, folder, group_is_input=given) for given in (True, False))
    assert german.input_shape[0] - without.input_shape[0] == 5  # the marital status, which tells the sex
    assert german.group_names == without.group_names == ["female", "male"]
    groups = torch.cat([split.groups for split in german.splits.values() if split.groups is not None])
    assert int((groups == 0).sum()) == 40  # A92 and A95


def test_compas_keeps_propublicas_rows_and_nobodys_name(folder: Path) -> None:
    module = loaded(Compas, folder, group="sex")
    assert sum(map(len, module.splits.values())) == COUNTS["compas-scores-two-years.csv"] - FILTERED
    frame = Compas.table((folder / "tables" / "compas-scores-two-years.csv").read_text(), "here")
    assert not {"name", "first", "last", "dob", "c_case_number", "id"} & set(frame.columns)
    assert module.class_names == ["charged again", "not charged again"]
    labels = torch.cat([split.labels for split in module.splits.values()])
    number = torch.arange(84)
    assert torch.equal(labels[torch.cat(list(module.indices.values())).argsort()], (number % 2 == 0).long())
    assert {name: len(split) for name, split in module.splits.items()} == {
        "train": 44,
        "validation": 8,
        "repair": 16,
        "test": 16,
    }


def test_the_second_class_is_the_favourable_one(folder: Path) -> None:
    assert loaded(German, folder).class_names == ["bad", "good"]
    labels = torch.cat([split.labels for split in loaded(German, folder).splits.values()])
    assert int(labels.sum()) == 70


def test_attacks_move_numbers_alone_each_within_its_range_and_by_its_deviation(folder: Path) -> None:
    module = loaded(Adult, folder, epsilon=0.5)
    threat, inputs = module.threat, module.splits["test"].tensors().inputs
    assert threat is not None and threat.columns is not None and threat.units is not None
    low, high = threat.ball(inputs)
    still = [place for place in range(inputs.shape[1]) if place not in threat.columns]
    assert torch.equal(low[:, still], inputs[:, still]) and torch.equal(high[:, still], inputs[:, still])
    assert low[:, 0].min() >= 20 and high[:, 0].max() <= 69
    train = column(module, 0)[:80]
    assert threat.units[0] == pytest.approx(train.std(correction=0).item())
    assert torch.allclose((high - inputs)[:, 0].max(), torch.tensor(0.5 * threat.units[0]))
    other = Adult(root=str(folder), epsilon=0.5, fewest=2)
    other.load(7)
    assert other.threat == threat, "it depends on no seed"


class Older(torch.nn.Module):
    """The older, the surer of the first class; nothing else counts."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack([inputs[:, 0], torch.full_like(inputs[:, 0], self.threshold)], dim=1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_attack_reaches_as_far_as_the_deviation_of_a_column(folder: Path, norm: Any) -> None:
    module = loaded(Adult, folder, epsilon=0.2)
    assert module.threat is not None and module.threat.units is not None
    inputs, reach = module.splits["test"].tensors().inputs, 0.2 * module.threat.units[0]
    if norm == "l2":
        reach = module.threat.in_l2(inputs.shape[1]).radius * module.threat.units[0]
    model = Older(45.0)
    labels = model(inputs).argmax(1)
    fooled = PGD(loss="margin", norm=norm, steps=80).attack(
        model, inputs, labels, module.threat, torch.Generator().manual_seed(0)
    )
    distance = (inputs[:, 0] - 45).abs()
    assert fooled[distance < 0.95 * reach].all() and not fooled[distance > 1.001 * reach].any()
    assert 0 < int(fooled.sum()) < len(fooled)


def test_columns_can_be_left_out_and_a_wrong_one_is_refused(folder: Path) -> None:
    assert loaded(Adult, folder, drop=["fnlwgt", "education"]).input_shape == (15,)
    with pytest.raises(UsageError, match="dataset.drop=educaton: dataset=adult has no such column; did you mean educ"):
        loaded(Adult, folder, drop=["educaton"])
    with pytest.raises(UsageError, match="dataset.fewest=1000: .* fewer rows"):
        loaded(Adult, folder, fewest=1000)
    with pytest.raises(UsageError, match="dataset.group=race: dataset=german has sex, age"):
        loaded(German, folder, group="race")


@pytest.mark.parametrize("name", SETS)
def test_missing_truncated_and_mixed_up_files_are_one_sentence(folder: Path, name: str) -> None:
    data = SETS[name]
    path = folder / "tables" / next(iter(data.files.values()))
    text = path.read_text()
    wrong = "german.data" if name != "german" else "adult.data"
    for content, sentence in (
        (text[: len(text) // 2].rpartition("\n")[0], f"{path.name} as its publisher distributes it"),
        ((folder / "tables" / wrong).read_text(), "holds . values; expected|has no column|holds .* values"),
        ("\x80", "is no text file"),
        ("", f"{path.name}"),
    ):
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(UsageError, match=sentence) as refusal:
            loaded(data, folder)
        assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
    path.unlink()
    with pytest.raises(UsageError, match=f"does not hold {path.name}.*dataset.download=true"):
        loaded(data, folder)


def test_a_download_is_kept_only_if_it_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = folder / "tables" / "adult.test"
    whole = missing.read_bytes()
    missing.unlink()
    with serving() as server:
        monkeypatch.setattr(Adult, "urls", {missing.name: f"{server.url}adult.test"})
        server.holds("adult.test", "".join(f"{row}\n" for row in adult_rows(39, ".")).encode())
        with pytest.raises(UsageError, match=f"{server.url}adult.test holds 39 rows"):
            loaded(Adult, folder, download=True)
        server.holds("adult.test", whole, "cut")
        with pytest.raises(UsageError, match=f"the connection ended .* get it by hand and put it into {folder}/tables"):
            loaded(Adult, folder, download=True)
        assert not missing.exists()
        loaded(Adult, folder, download=True)
        loaded(Adult, folder, download=True)
        assert server.asked == ["adult.test"] * 3
    assert missing.read_bytes() == whole


@pytest.mark.parametrize(("name", "sizes"), [("adult", 48_842), ("compas", 6_172), ("german", 1_000)])
def test_the_real_files_have_their_published_sizes(name: str, sizes: int) -> None:
    data = SETS[name]
    if not all((Path(REAL) / "tables" / file).is_file() for file in data.files.values()):
        pytest.skip("STUDY_DATA does not hold them")
    module = data(root=REAL, limit=100)
    module.load(10)
    assert sum(len(items.labels) for items in module.contents.parts.values()) == sizes
    assert module.threat is not None and module.group_names is not None
    for place in ("description", "licence", "citation", "source"):
        assert getattr(data, place)
