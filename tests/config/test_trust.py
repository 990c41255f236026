"""Code that a configuration names runs only where somebody trusts it, and nothing of it runs before that is known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.config.settings import resolved
from study.config.trust import HYDRA, check_homes, check_names
from study.errors import UsageError
from study.storage.paths import conf_folder
from tests.commands import compositions, prepared

BARE = ("architecture=mlp", "~architecture")
FOREIGN = "foreign_code_of_a_test"
CODE = "import sys, torch\nfrom pathlib import Path\nPath({!r}).touch()\nclass Net(torch.nn.Module):\n    pass\n"


def refusal(*arguments: str) -> str:
    """What `check_names` and `check_homes` say of a command line."""
    with pytest.raises(UsageError) as error:
        check(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def check(*arguments: str) -> None:
    """Both looks at the names of a command line."""
    (job,) = compositions(*arguments)
    check_names(resolved(job.config), job.hydra)
    check_homes(resolved(job.config), job.hydra)


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is there once the foreign module was imported."""
    file = tmp_path / "trace"
    (tmp_path / f"{FOREIGN}.py").write_text(CODE.format(str(file)))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield file
    sys.modules.pop(FOREIGN, None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("architecture._target_=os.system", "os.system is not trusted; trust=[os.system] lets its code run"),
        ("+architecture.a=[{b: {_target_: os.system}}]", "architecture.a.0.b._target_=os.system: os.system is not"),
        ("+architecture.a={_target_: hydra.utils.get_object, path: os.system}", "architecture.a.path=os.system: "),
        ("+architecture.a={_target_: hydra.utils.get_method, _args_: [os.system]}", "architecture.a._args_=os.system"),
        ("+architecture.a={_target_: hydra.utils.get_method}", "architecture.a._args_=: should be a dotted name"),
        ("+architecture.a={_target_: hydra.utils.call}", "hydra.utils.call is not trusted"),
        ("tracking._target_=builtins.print", "tracking._target_=builtins.print: builtins.print is not trusted"),
        ("architecture._target_=studyx.Net", "studyx is not trusted; trust=[studyx] lets"),
        ("architecture._target_=torch.nn.Module.__init__.__globals__", "torch.nn.Module.__init__.__globals__ is not"),
        ("architecture._target_=", "should be a dotted name"),
        # A package that is trusted does not lend its trust to what it imports, nor to what runs the code of a file.
        ("architecture._target_=torch.os.system", "leads to os, which is not trusted; trust=[torch.os.system] lets"),
        ("architecture._target_=study.storage.files.os.system", "leads to os, which is not trusted"),
        ("architecture._target_=study.config.trust.Path", "leads to pathlib, which is not trusted"),
        ("architecture._target_=torch.load", "leads to torch.serialization, which is not trusted"),
        ("architecture._target_=torch.hub.load", "leads to torch.hub, which is not trusted"),
        ("architecture._target_=study.tracking.serve.main", "leads to study.tracking.serve, which is not trusted"),
        ("architecture._target_=mine.Net trust=[my]", "mine is not trusted"),
        # Hydra resolves twice: what is escaped would become a name after the look.
        (r"+architecture.a='\${oc.create:{_target_: os.system}}'", "a reference cannot be escaped"),
        # Hydra's own part.
        ("+hydra.callbacks.a._target_=os.system", "hydra.callbacks.a._target_=os.system: os.system is not trusted"),
        ("hydra.launcher._target_=study.cli.sweep.sys.exit", "leads to sys, which is not trusted"),
        ("hydra.launcher._target_=hydra_plugins.nothing.Launcher", "leads nowhere"),
        ("+hydra.callbacks.a='${oc.create:{_target_: os.system}}'", "without oc.create"),
        (
            "+hydra.job_logging.handlers.a={class: mine.Handler}",
            "hydra.job_logging.handlers.a.class=mine.Handler: mine",
        ),
        ("+hydra.job_logging.handlers.a={stream: 'ext://mine.stream'}", "should be ext://sys.stdout"),
    ],
)
def test_what_nobody_trusts_is_refused(arguments: str, told: str) -> None:
    first, *rest = arguments.split(" trust=")
    assert told in refusal(first, *[f"trust={names}" for names in rest])


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.Linear",
        "torch.nn.functional.gelu",
        "torch.tanh",
        "torch.float32",
        "torchvision.models.resnet18",
        "torchvision.models.ResNet18_Weights.DEFAULT.transforms",
        "torchvision.transforms.InterpolationMode.BICUBIC",
        "torchvision.transforms.v2.Resize",
        "timm.create_model",
        "timm.data.create_transform",
        "study.models.lenet5.LeNet5",
    ],
)
def test_what_networks_and_transforms_are_made_of_is_trusted(name: str) -> None:
    pytest.importorskip(name.partition(".")[0])
    check(f"architecture._target_={name}")
    check(f"+architecture.a={{_target_: hydra.utils.get_object, path: {name}}}")


def test_foreign_code_is_not_even_imported(trace: Path) -> None:
    target = f"+architecture._target_={FOREIGN}.Net"
    with pytest.raises(UsageError, match=rf"architecture\._target_={FOREIGN}\.Net: {FOREIGN} is not trusted"):
        prepared(*BARE, target)
    assert not trace.exists()
    check(*BARE, target, f"trust=[{FOREIGN}]")
    assert trace.exists()


@pytest.mark.parametrize("package", [FOREIGN, f"{FOREIGN}.Net"])
def test_the_setting_trusts_a_package_or_one_name(package: str, trace: Path) -> None:
    check(*BARE, f"+architecture._target_={FOREIGN}.Net", f"trust=[{package}]")
    with pytest.raises(UsageError):
        check(*BARE, f"+architecture._target_={FOREIGN}.sys.exit", f"trust=[{package}]")


def test_a_name_in_a_file_of_ones_own_folder_is_trusted_and_no_other(trace: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine"
    (own / "architecture").mkdir(parents=True)
    (own / "experiment").mkdir()
    (own / "architecture" / "net.yaml").write_text(
        f"_target_: {FOREIGN}.Net\nlayers: [{{_target_: collections.deque}}]"
    )
    (own / "experiment" / "other.yaml").write_text(
        "# @package _global_\n# _target_: os.system\narchitecture:\n"
        "  _target_: hydra.utils.get_class\n  path: string.Template\n"
    )
    (own / "architecture" / "broken.yaml").write_text("a: [")
    folder = ("--config-dir", str(own))
    check(*folder, "architecture=net")
    check(*folder, "+experiment=other")
    check(*folder, "architecture._target_=collections.deque")
    with pytest.raises(UsageError, match="os.system is not trusted"):
        check(*folder, "architecture=net", "architecture._target_=os.system")
    with pytest.raises(UsageError, match=f"{FOREIGN} is not trusted"):
        check("architecture._target_=" + f"{FOREIGN}.Net")


def test_the_yaml_of_an_earlier_job_is_no_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "multirun" / "job").mkdir(parents=True)
    (tmp_path / "multirun" / "job" / "config.yaml").write_text("architecture: {_target_: os.system}")
    with pytest.raises(UsageError, match="os.system is not trusted"):
        check("--config-dir", str(tmp_path), "architecture._target_=os.system")


def test_a_job_looks_again_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.config.values.check_names", lambda *_: None)
    with pytest.raises(UsageError, match="os.system is not trusted"):
        prepared("architecture._target_=os.system")


@pytest.mark.parametrize("arguments", ["", "hydra/sweeper=optuna", "hydra/launcher=joblib"])
def test_what_this_project_configures_is_trusted(arguments: str) -> None:
    check(*arguments.split())


def test_every_target_of_the_project_is_in_a_trusted_package() -> None:
    lines = [line for file in conf_folder().rglob("*.yaml") for line in file.read_text().splitlines()]
    targets = [line.split("_target_:")[1].split()[0].rstrip("}") for line in lines if "_target_:" in line]
    assert targets and all(name.startswith(("study.", "torchvision.", "timm.", *HYDRA)) for name in map(str, targets))


@pytest.mark.parametrize("option", ["--config-path", "--config-name", "--experimental-rerun"])
def test_an_option_that_would_run_something_else_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match=f"^{option}: "):
        compositions(option, "x")
