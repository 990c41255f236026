"""What a user can get wrong, from the command line to the files: one sentence each, at once, and nothing written."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from study.errors import UsageError
from study.tracking.target import Target
from tests.commands import FAST, prepared, run_job
from tests.data.files import idx, write_mnist, write_photos

SECONDS = 60
"""After which a row hangs."""
OWN = "--config-dir mine +method=own"
PHOTOS = "dataset=image_folder dataset.root=photos architecture=mlp"
MNIST = "dataset=mnist dataset.root=mnist"
TARGET = "_target_: study.methods.model_level.finetune.Finetune\n"


@dataclass(frozen=True)
class Row:
    """A command line with a mistake, or with files or surroundings that are one, and what the sentence must hold."""

    line: str
    sentence: str
    files: Callable[[], object] = lambda: None
    surroundings: Mapping[str, str] = field(default_factory=dict)


def own(text: str | bytes, name: str = "method/own") -> Callable[[], object]:
    """A yaml file in the user's own folder."""

    def write() -> None:
        file = Path("mine", f"{name}.yaml")
        file.parent.mkdir(parents=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)

    return write


def photos(*more: Callable[[], object], classes: tuple[str, ...] = ("a", "b")) -> Callable[[], object]:
    """A folder of images, and what is then done to it."""

    def write() -> None:
        write_photos(Path("photos"), dict.fromkeys(classes, 15), side=8)
        for one in more:
            one()

    return write


def link(to: str, name: str) -> Callable[[], object]:
    return lambda: Path(name).symlink_to(to)


def pipe(name: str) -> Callable[[], object]:
    """A named pipe, which a reader would wait for."""

    def make() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(name)

    return make


def mnist(images: bytes, *, packed: bool = False) -> Callable[[], object]:
    """MNIST whose images for training are other bytes."""
    name = f"train-images-idx3-ubyte{'.gz' if packed else ''}"
    return lambda: (write_mnist(Path("mnist"), packed=packed) / name).write_bytes(images)


def bomb() -> bytes:
    """60 images and a gigabyte after them, in a megabyte."""
    return gzip.compress(idx(np.zeros((60, 28, 28), np.uint8))) + gzip.compress(bytes(2**25), 9) * 32


NULL = [
    Row(f"{group}=null", f"{group}=null: there is no such {group}; ")
    for group in ("method", "dataset", "architecture", "faulty", "metric", "safeguard", "trainer", "tracking")
]
GONE = [
    Row(f"~{key}", f"{key}: is missing")
    for key in ("faulty", "metric", "trainer", "dataset", "architecture", "tracking", "seed")
]
COMMAND = [
    Row("~hydra/launcher", "~hydra/launcher: this part of Hydra cannot be taken out"),
    Row("~dataset.limit", "~dataset.limit: there is no value to take out"),
    Row("dataset=дигиты", "dataset=дигиты: there is no such dataset; there are: "),
    Row("dataset={name:digits}", "dataset={name:digits}: a choice is made by its name, dataset=NAME"),
    Row("seed=0,1", "seed=0,1: a job takes one value; several in turn are a multirun: -m seed=0,1"),
    Row(
        "architecture.num_classes=3", "architecture.num_classes=3: should be 10, as dataset=digits has so many classes"
    ),
    Row("-m seed=range(1000000)", "seed=range(1000000): these are 1,000,000 jobs; a multirun has at most 10,000"),
    Row("-m seed=range(1000) subject.seed=range(0,1000)", "these are 1,000,000 jobs; a multirun has at most 10,000"),
    Row("-m seed=range(0,5,0)", "seed=range(0,5,0): a range needs a step other than 0"),
    Row("+1=3", "+1=3: +1 is no name of a setting"),
    Row("subject={1:2}", "subject: has settings of its own, subject.KEY=VALUE"),
    Row("seed={1:2}", "seed.1: is no name of a setting"),
    Row("architecture.widths={1:2}", "architecture.widths={1:2}: should be a list, as in [1,2]"),
]
NUMBERS = [
    Row(f"{key}={value}", f"{key}={value}: should be a finite number")
    for key in ("faulty.weight_decay", "faulty.lr", "trainer.memory_gib", "dataset.epsilon")
    for value in ("nan", "inf")
]
NUMBERS += [
    Row("+method=finetune method.max_seconds=inf", "method.max_seconds=inf: should be a finite number"),
    Row("+method=finetune method.lr=nan", "method.lr=nan: should be a finite number"),
    Row(f"{PHOTOS} dataset.mean=[nan,0,0]", "dataset.mean.0=nan: should be a finite number", photos()),
    Row(f"{PHOTOS} dataset.std=[1,inf,1]", "dataset.std.1=inf: should be a finite number", photos()),
    Row("dataset=table dataset.mean=[nan]", "dataset.mean.0=nan: should be a finite number"),
    Row("safeguard=soft_voting safeguard.nfr_max=nan", "safeguard.nfr_max=nan: should be a finite number"),
]
FILES = [
    Row(OWN, "mine/method/own.yaml, line 2: found character '\\t'", own("a:\n\tb: 1\n")),
    Row(OWN, "mine/method/own.yaml, line 2: found duplicate key lr", own("lr: 1\nlr: 2\n")),
    Row(OWN, "mine/method/own.yaml, line 1: could not determine a constructor", own("lr: !!python/name:os.system\n")),
    Row(OWN, "mine/method/own.yaml: its defaults list leads back to the file itself", own("defaults: [own]\n")),
    Row(OWN, "mine/method/own.yaml: cannot be read as yaml ('utf-8'", own(b"\xff\xfe\x00")),
    Row(OWN, "mine/method/own.yaml: is empty", own("")),
    Row(OWN, "mine/method/own.yaml: is empty", own("# a remark\n")),
    Row(OWN, "mine/method/own.yaml: is a list; settings are written KEY: VALUE", own("[1, 2]\n")),
    Row(OWN, "method=own: sets no method._target_", own("lr: 1\n")),
    Row(OWN, "a reference, ${...}, cannot be read: ", own("lr: ${\n")),
    Row(OWN, "method.1: is no name of a setting", own(f"{TARGET}1: 2\n")),
    Row("--config-dir mine +experiment=own", "experiment/own.yaml: is empty", own("", "experiment/own")),
    Row(
        "--config-dir mine +method=finetune",
        "mine/method/finetune.yaml: method=finetune is there already, so the file would be ignored; rename it",
        own(TARGET, "method/finetune"),
    ),
    Row("--config-dir mine", "hydra/launcher=joblib is there already", own("n_jobs: 3\n", "hydra/launcher/joblib")),
    Row("--config-dir mine", "mine/config.yaml: this name is taken", own("seed: 1\n", "config")),
    Row(OWN, "method/own: there is no such configuration", pipe("mine/method/own.yaml")),
]
HOME = [
    Row("seed=1", "STUDY_HOME=file: ", lambda: Path("file").touch(), {"STUDY_HOME": "file"}),
    Row("seed=1", "/file is a file; set STUDY_HOME", lambda: Path("file").touch(), {"STUDY_HOME": "file/in"}),
    Row("seed=1", "STUDY_HOME=a${b}: holds ${, and", surroundings={"STUDY_HOME": "a${b}"}),
    Row("seed=1", "STUDY_HOME=a?b: holds ?, and", surroundings={"STUDY_HOME": "a?b"}),
    Row("seed=1", "STUDY_HOME=a%20b: holds %20, and", surroundings={"STUDY_HOME": "a%20b"}),
    Row("seed=1", "STUDY_HOME=a\\nb: holds \\n, and", surroundings={"STUDY_HOME": "a\nb"}),
    Row("-m hydra.sweep.dir=/elsewhere", "hydra.sweep.dir=/elsewhere: should be a folder inside the home folder"),
    Row("hydra.run.dir=..", "hydra.run.dir=..: should be a folder inside the home folder"),
]
DATA = [
    Row(PHOTOS, "photos/a/again/a and ", photos(link("..", "photos/a/again"))),
    Row(PHOTOS, "photos/c and ", photos(link("b", "photos/c"))),
    Row(PHOTOS, "are one, by a symbolic link", photos(link("../b/000.png", "photos/a/z.png"))),
    Row(PHOTOS, "photos/a/x.png is no file that can be read; take it away", photos(pipe("photos/a/x.png"))),
    Row(f"{PHOTOS} dataset.size=8", "photos/a/x.png is no file that", photos(pipe("photos/a/x.png"))),
    Row(PHOTOS, "photos/a\\nb holds no image", photos(lambda: Path("photos/a\nb").mkdir())),
    Row(f"{PHOTOS} dataset.size=8", "x.png cannot be read", photos(lambda: Path("photos/a/x.png").write_text("no"))),
    Row("dataset=arrays dataset.file=x/a.npz", "x/a.npz: is neither a file nor a folder", pipe("x/a.npz")),
    Row("dataset=arrays dataset.file=x", "x/inputs.npy is no file that can be read", pipe("x/inputs.npy")),
    Row("dataset=table dataset.file=x dataset.label=y", "the folder holds no train.csv", pipe("x/train.csv")),
    Row("faulty.checkpoint=x/a.pt", "faulty.checkpoint=x/a.pt: there is no such file", pipe("x/a.pt")),
    Row(MNIST, "holds 0 images", mnist(idx(np.zeros((0, 28, 28), np.uint8)))),
    Row(MNIST, "announces 47040 bytes of data and holds more", mnist(bomb(), packed=True)),
    Row(MNIST, "and no more than 1,073,741,824 are read", mnist(bytes([0, 0, 8, 3] + [255] * 12))),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder of its own, and for no longer than `SECONDS`."""
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _hangs(*_: object) -> None:
    raise TimeoutError("it hangs")


def contents(place: Path) -> list[Path]:
    return sorted(place.rglob("*"))


@pytest.mark.parametrize(
    "row", [*NULL, *GONE, *COMMAND, *NUMBERS, *FILES, *HOME, *DATA], ids=lambda row: f"{row.line} {row.sentence}"[:80]
)
def test_a_mistake_gets_one_sentence_and_writes_nothing(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row.files()
    for name, value in row.surroundings.items():
        monkeypatch.setenv(name, value)
    before = contents(tmp_path)
    with pytest.raises(UsageError) as refusal:
        for job in prepared(*row.line.split()):
            job.data.load(0)
    assert row.sentence in str(refusal.value)
    assert str(refusal.value).isprintable()  # on one line, whatever names the files have
    assert contents(tmp_path) == before


def test_a_refusal_of_data_leaves_no_run_folder(program: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Of a file that is only read once Hydra has made the folder."""
    write_photos(Path("photos"), {"a": 15, "b": 15}, side=8)
    Path("photos/a/x.png").write_text("no image")
    before = contents(tmp_path)
    code, _, errors = program(*PHOTOS.split(), "dataset.size=8")
    assert code == 2
    assert "x.png cannot be read as an image" in errors and len(errors.splitlines()) == 1
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("store")
def test_class_names_may_hold_anything() -> None:
    photos(classes=("<script>alert(1)</script>", "two\nlines"))()
    outcome, _ = run_job(*PHOTOS.split(), *FAST)
    assert outcome == "faulty"


@pytest.mark.usefixtures("store")
def test_arachne_on_a_handful_of_images() -> None:
    """So few that the first parts of its fitness hold none."""
    write_photos(Path("photos"), {"a": 12, "b": 12}, side=8)
    outcome, _ = run_job("+method=arachne", "method.generations=2", *PHOTOS.split(), *FAST)
    assert outcome in ("repaired", "failure")


def test_a_link_among_artifacts_is_not_followed(tmp_path: Path) -> None:
    secret, artifacts = tmp_path / "secret", tmp_path / "artifacts"
    secret.write_text("secret")
    (artifacts / "folder").mkdir(parents=True)
    (artifacts / "kept.txt").write_text("kept")
    (artifacts / "link").symlink_to(secret)
    (artifacts / "folder" / "link").symlink_to(secret)
    for local in (True, False):
        sent: list[str] = []
        target = Target(client=None, experiment_id="0", local=local)  # type: ignore[arg-type]
        target.place(sorted(artifacts.iterdir()), (tmp_path / "store").as_uri(), sent.append)
        assert sent == ([] if local else [str(artifacts / "kept.txt")])
    assert [path.name for path in contents(tmp_path / "store")] == ["kept.txt"]
