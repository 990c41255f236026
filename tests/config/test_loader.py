"""What is composed once and changed on a copy is what Hydra composes anew, to the last flag, errors included."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, Node
from omegaconf.errors import OmegaConfBaseException

import study.config.home  # noqa: F401 (the configuration refers to what it registers)
from study.config.loader import Loader
from study.storage.paths import conf_folder

LINES = (
    "seed=3",
    "+method=arachne seed=3 method.population=7 method.max_seconds=null",
    "method.population=7 +method=arachne",
    "seed=1 +method=arachne dataset=mnist subject.seed=2 dataset=digits",
    "architecture=mlp architecture.widths=[8,4] seed=5",
    "architecture=mlp architecture.widths=[] subject={seed:4}",
    "+method=arachne +method.extra=1 ++method.extra=2 ++method.population=3",
    "+method=arachne +method.extra={a:{b:[1,2]},c:x} +method.extra.a.d=4",
    "subject.seed=${seed} +subject.more=${oc.env:HOME} objective=a${seed}",
    "trust=[a,b] +trust_too=[] seed=abc",
    "~method.population +method=arachne",
    "~subject.seed ~objective seed=1",
    "~trainer seed=1",
    "trainer.threads=2 ~trainer.threads",
    "metric=fast ~metric.comparisons seed=1",
    "metric.comparisons={} faulty={epochs:3}",
    "dataset.limit=20 dataset=mnist faulty.checkpoint='a,b.pt' objective='x=y'",
    "hydra.job.name=other seed=1 hydra.run.dir=here/${seed}",
    "hydra/launcher=joblib hydra.launcher.n_jobs=2 seed=1 +hydra.job.env_set.A=${seed}",
    "hydra.job.config.override_dirname.exclude_keys=[seed] seed=1 force=true",
    "hydra.overrides.task=[z] seed=1 +method=care",
    "hydra.job.env_copy=[HOME] seed=1 hydra.mode=RUN",
    "+experiment=mnist_full seed=4",
    "+method=published/arachne method.population=9 seed=4",
    "seed=0 seed=1",
    "dataset={limit:3}",
)
WRONG = (
    "sede=1",
    "+seed=1",
    "~nothing",
    "~seed=4",
    "seed=1 method.population=3 dataset=minst",
    "method.populatio=1 +method=arachne",
    "subject.sed=1 hydra.job.nam=x",
    "hydra.launcher.n_jbs=2 seed=1",
    "subject=3",
    "trust={a:1}",
    "seed@x=3",
    "+method=arachne +method=joint",
    "seed=[1",
    "++method=arachne",
    "architecture.widths.0=1",
    "metric.attacks={pgd:{steps:3}}",
    "seed=0,1 +method=arachne,joint seed=3",
)


@pytest.fixture(autouse=True)
def nothing_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loader, "composed", {})
    monkeypatch.setattr(Loader, "repositories", {})


def loaders() -> tuple[ConfigLoaderImpl, ConfigLoaderImpl]:
    path = create_config_search_path(str(conf_folder()))
    return Loader(path), ConfigLoaderImpl(path)


def tree(node: Any) -> Any:
    """All that a configuration is: values as they are written, and what OmegaConf notes of each node."""
    if not isinstance(node, Node):
        return node
    noted = {name: value for name, value in vars(node._metadata).items() if name != "resolver_cache"}
    if isinstance(node, DictConfig | ListConfig) and isinstance(node._content, dict | list):
        items = node._content.items() if isinstance(node._content, dict) else enumerate(node._content)
        for _, item in items:
            assert item._get_parent() is node
        return type(node), noted, [(key, tree(item)) for key, item in items]
    return type(node), noted, node._value()


def outcome(loader: ConfigLoaderImpl, overrides: list[str], mode: RunMode) -> Any:
    """The composed configuration, or what is said in its place."""
    try:
        return tree(loader.load_configuration("config", overrides, mode))
    except (HydraException, OmegaConfBaseException) as error:
        return type(error), str(error), type(error.__cause__), str(error.__cause__)


@pytest.mark.parametrize("line", [*LINES, *WRONG])
def test_a_copy_with_values_is_what_hydra_composes(line: str) -> None:
    ours, hydras = loaders()
    for mode in (RunMode.RUN, RunMode.MULTIRUN):
        first, again = (outcome(ours, line.split(" "), mode) for _ in range(2))
        assert first == again == outcome(hydras, line.split(" "), mode)


@pytest.mark.parametrize("line", LINES)
def test_the_copy_is_taken_where_nothing_is_wrong(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every line of the test above could be one that is left to Hydra."""
    ours, _ = loaders()
    ours.load_configuration("config", line.split(" "), RunMode.MULTIRUN)
    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", None)
    ours.load_configuration("config", [*line.split(" "), "force=true"], RunMode.MULTIRUN)


def test_files_are_read_once_for_many_values_and_again_for_another_command(tmp_path: Path) -> None:
    (tmp_path / "metric").mkdir()
    file = tmp_path / "metric" / "mine.yaml"
    own = ["metric=mine", f"hydra.searchpath=[file://{tmp_path}]"]
    ours, hydras = loaders()
    for written, awaited in ((1, 1), (2, 1)):
        file.write_text(f"value: {written}")
        given = [*own, "metric.value=5", f"seed={written}"]
        assert outcome(ours, given, RunMode.RUN) == outcome(hydras, given, RunMode.RUN)
        assert ours.load_configuration("config", own, RunMode.RUN).metric.value == awaited
    Loader.forget()
    assert ours.load_configuration("config", own, RunMode.RUN).metric.value == 2


def test_a_group_of_a_users_own_folder_is_a_group(tmp_path: Path) -> None:
    (tmp_path / "fruit").mkdir()
    (tmp_path / "fruit" / "apple.yaml").write_text("colour: red")
    given = ["+fruit=apple", f"hydra.searchpath=[file://{tmp_path}]", "seed=2"]
    ours, hydras = loaders()
    assert outcome(ours, given, RunMode.RUN) == outcome(hydras, given, RunMode.RUN)
    assert ours.load_configuration("config", given, RunMode.RUN).fruit.colour == "red"


def test_the_options_of_groups_are_hydras() -> None:
    ours, hydras = loaders()
    for group in ("", "method", "method/full", "method/published", "hydra", "hydra/launcher", "nothing"):
        for kind in (ObjectType.CONFIG, ObjectType.GROUP, None):
            assert ours.get_group_options(group, kind) == hydras.get_group_options(group, kind)


def test_a_job_in_a_process_of_its_own_gets_no_compositions_along() -> None:
    ours, hydras = loaders()
    before = len(pickle.dumps(ours))
    ours.load_configuration("config", ["seed=1"], RunMode.RUN)
    assert len(pickle.dumps(ours)) == before
    there = pickle.loads(pickle.dumps(ours))
    assert outcome(there, ["+method=care", "seed=1"], RunMode.RUN) == outcome(
        hydras, ["+method=care", "seed=1"], RunMode.RUN
    )
