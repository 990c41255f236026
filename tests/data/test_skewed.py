"""Images made unfair on purpose: which item is in which version, and what a version is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms.functional import to_pil_image, to_tensor

from study.config.keys import Keys
from study.data.arrays import Arrays
from study.data.contents import Items
from study.data.digits import Digits
from study.data.image_folder import ImageFolder
from study.data.memory import InMemory
from study.data.mnist import MNIST
from study.data.module import DataModule
from study.data.skewed import Skewed
from study.data.table import Table
from study.data.versions import tints
from study.errors import UsageError
from tests.commands import prepared, result_of
from tests.data.files import write_images, write_mnist, write_photos


def loaded(of: DataModule, seed: int = 0, **arguments: Any) -> Skewed:
    module = Skewed(of=of, **arguments)
    module.load(seed)
    return module


def photos(seed: int = 0) -> InMemory:
    """200 noisy RGB images of two classes; the number of each is its first red value."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (200, 3, 8, 8), generator=draws, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(200, dtype=torch.uint8)
    return InMemory({"train": Items(images, torch.arange(200) % 2)})


def test_each_class_is_mostly_in_its_version_where_models_are_trained() -> None:
    module = loaded(Digits())
    for name in ("train", "validation"):
        split = module.splits[name]
        assert split.groups is not None
        for label in range(10):
            groups = split.groups[split.labels == label]
            usual = int((groups == (0 if label < 5 else 1)).sum())
            assert usual == round(0.95 * len(groups)), (name, label)


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.0])
def test_the_ratio_and_the_classes_can_be_chosen(ratio: float) -> None:
    module = loaded(Digits(), ratio=ratio, coloured=["7", "1"])
    split = module.splits["train"]
    assert split.groups is not None
    for label in range(10):
        groups = split.groups[split.labels == label]
        assert int((groups == (0 if label in (1, 7) else 1)).sum()) == round(ratio * len(groups))


def test_repair_and_test_hold_each_item_in_both_versions() -> None:
    base, module = Digits(), loaded(Digits())
    base.load(0)
    for name in ("repair", "test"):
        items, split = base.indices[name], module.splits[name]
        assert torch.equal(module.indices[name], torch.cat([items, items + 1797]))
        assert split.groups is not None and split.groups.bincount().tolist() == [len(items)] * 2
        assert torch.equal(split.labels, base.splits[name].labels.repeat(2))


def test_no_item_lies_in_two_splits_in_any_version() -> None:
    module = loaded(Digits())
    items = [set((indices % 1797).tolist()) for indices in module.indices.values()]
    assert set().union(*items) == set(range(1797))
    assert sum(map(len, items)) == 1797
    assert len(module.indices["train"].unique()) == 800


def test_a_grey_photograph_is_what_pillow_makes_of_it() -> None:
    base = photos()
    base.load(0)
    module = loaded(photos())
    for name in ("train", "repair"):
        split = module.splits[name]
        batch = split.tensors()
        assert batch.groups is not None
        images = base.read().take(module.indices[name] % 200)
        assert isinstance(images, torch.Tensor)
        for image, original, group in zip(batch.inputs, images, batch.groups, strict=True):
            if group == 0:
                assert torch.equal(image, original)
            else:
                grey = to_tensor(to_pil_image(original).convert("L"))
                assert torch.allclose(image, grey.expand(3, -1, -1), atol=1.5 / 255)
                assert torch.equal(image[0], image[1]) and torch.equal(image[1], image[2])


def test_a_tint_is_a_fixed_colour_of_its_own_for_each_grey_image() -> None:
    base, first, other = Digits(), loaded(Digits()), loaded(Digits(), seed=1)
    base.load(0)
    colours: dict[int, list[torch.Tensor]] = {}
    for module in (first, other):
        split = module.splits["test"]
        half = len(split) // 2
        coloured, grey = split.tensors().inputs[:half], split.tensors().inputs[half:]
        assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(grey[:, 1], grey[:, 2])
        assert torch.allclose(coloured.amax(1), grey[:, 0])  # as bright as the image
        for item, colour in zip(module.indices["test"][:half].tolist(), coloured.amax((2, 3)), strict=True):
            colours.setdefault(item, []).append(colour)
        images = base.read().take(module.indices["test"][:half])
        assert isinstance(images, torch.Tensor) and torch.equal(grey[:, :1], images)
    shared = [pair for pair in colours.values() if len(pair) == 2]
    assert len(shared) > 50 and all(torch.equal(*pair) for pair in shared)
    assert len({tuple(pair[0].tolist()) for pair in shared}) > 0.9 * len(shared)


def test_tints_are_bright_saturated_and_of_every_hue() -> None:
    drawn = tints(2000)
    assert torch.allclose(drawn.amax(1), torch.ones(2000)) and torch.allclose(drawn.amin(1), torch.full((2000,), 0.25))
    assert (drawn.argmax(1).bincount() > 600).all() and (drawn.argmin(1).bincount() > 600).all()
    assert torch.equal(drawn, tints(2000))


def test_the_content_is_the_same_under_every_seed_and_the_split_is_not() -> None:
    zero, again, one = loaded(Digits()), loaded(Digits()), loaded(Digits(), seed=1)
    assert zero.content == one.content and zero.split_hash != one.split_hash
    assert (zero.split_hash, zero.fingerprint) == (again.split_hash, again.fingerprint)
    assert torch.equal(zero.splits["train"].tensors().inputs, again.splits["train"].tensors().inputs)
    plain = Digits()
    plain.load(0)
    assert zero.fingerprint != plain.fingerprint
    assert loaded(photos(0)).fingerprint != loaded(photos(1)).fingerprint


def test_a_limit_holds_for_the_skewed_splits_and_nowhere_else() -> None:
    module = loaded(Digits(), limit=100)
    assert [len(split) for split in module.splits.values()] == [100] * 4
    with pytest.raises(UsageError, match=r"dataset\.of\.limit=100: set dataset\.limit"):
        Skewed(of=Digits(limit=100))


def test_images_in_files_stay_there_unless_they_fit(tmp_path: Path) -> None:
    write_photos(tmp_path, {"cat": 30, "dog": 30}, side=8)
    eager = loaded(ImageFolder(root=str(tmp_path)))
    lazy = loaded(ImageFolder(root=str(tmp_path), in_memory_gib=0))
    for name, split in lazy.splits.items():
        assert not isinstance(split.inputs, torch.Tensor)
        places = torch.arange(len(split)).flip(0)
        assert torch.equal(split.fetch(places).inputs, eager.splits[name].tensors().inputs[places])
    assert (eager.fingerprint, eager.split_hash) == (lazy.fingerprint, lazy.split_hash)


def test_what_is_known_beforehand_follows_from_the_set_underneath(tmp_path: Path) -> None:
    module = Skewed(of=MNIST(root=str(write_mnist(tmp_path))))
    module.check()
    assert (module.input_shape, module.num_classes, module.epsilon) == ((3, 28, 28), 10, 0.15)
    assert module.group_names == ["colour", "grey"] and module.usual_sizes == (54_000, 6_000, 10_000, 10_000)
    assert module.places == module.of.places and not module.random_splits and module.recipe == MNIST.recipe
    assert module.description.startswith(MNIST.description) and module.licence == MNIST.licence
    assert "Wang" in module.citation and MNIST.citation in module.citation
    assert Skewed(of=MNIST(), epsilon=0.2).epsilon == 0.2
    assert Skewed(of=MNIST(), epsilon=None).threat is None
    scaled = Skewed(of=ImageFolder(root=str(tmp_path), size=8, channels=1, mean=[0.5], std=[0.25]))
    write_images(tmp_path, {"cat": 20, "dog": 20})
    scaled.check()
    assert (scaled.mean, scaled.std) == ([0.5] * 3, [0.25] * 3)


def test_what_cannot_be_skewed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n" + "1,0\n2,1\n" * 30)
    with pytest.raises(UsageError, match=r"dataset\.of=rows: its inputs are table inputs of 1; images"):
        Skewed(of=Table(file=str(tmp_path / "rows.csv"), label="b")).check()
    with pytest.raises(UsageError, match=r"dataset\.coloured: there is no class cta; did you mean cat"):
        write_photos(tmp_path / "pets", {"cat": 20, "dog": 20})
        Skewed(of=ImageFolder(root=str(tmp_path / "pets")), coloured=["cta"]).check()


def test_a_refusal_names_the_setting_as_it_is_called_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"set dataset\.of\.root=FOLDER or STUDY_DATA.*dataset\.of\.download=true"):
        Skewed(of=MNIST(root=str(tmp_path))).check()
    with pytest.raises(UsageError, match=r"^dataset\.of\.file is not set"):
        Skewed(of=Arrays()).check()


def test_any_set_of_images_is_skewed_from_the_command_line(tmp_path: Path) -> None:
    write_photos(tmp_path / "pets", {"cat": 20, "dog": 20})
    root = f"dataset.of.root={tmp_path / 'pets'}"
    (mine,) = prepared("dataset=skewed", root, "dataset.of.size=32")
    assert (mine.names.dataset, mine.data.title, mine.data.input_shape) == ("pets_s", "pets_s", (3, 32, 32))
    (chosen,) = prepared("dataset=skewed", "dataset@dataset.of=digits", "architecture=mlp")
    (named,) = prepared("dataset=digits_s", "dataset.ratio=0.9")
    assert (chosen.names.dataset, named.names.subject) == ("digits_s", "digits_s / mlp, dataset.ratio=0.9")


def test_the_subject_is_the_same_wherever_its_files_lie(tmp_path: Path) -> None:
    keys = []
    for name in ("here", "there"):
        (job,) = prepared("dataset=mnist_s", f"dataset.of.root={write_mnist(tmp_path / name)}")
        job.data.load(0)
        keys.append((Keys.of(job).subject, job.names.subject))
    assert keys[0] == keys[1] and keys[0][1] == "mnist_s / lenet5"


@pytest.mark.usefixtures("store")
def test_a_skew_makes_a_model_unfair_and_a_repair_of_it_is_measured() -> None:
    line = ("dataset=digits_s", "metric=fast", "faulty.epochs=3", "trainer.threads=1", "trainer.progress=false")
    skewed = result_of(*line, "dataset.ratio=1", "+method=finetune", "method.epochs=1", name="skewed")
    even = result_of(*line, "dataset.ratio=0.5", name="even")
    assert skewed.metrics["before/aaod"] > 2 * even.metrics["before/aaod"]
    assert "after/aaod" in skewed.metrics and skewed.tags["dataset"] == "digits_s"
