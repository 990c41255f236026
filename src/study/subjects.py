"""`python -m study.subjects`: the data sets, what each holds, and how to get those that are not there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from study.__main__ import find_own_modules
from study.cli.absent import looked_at, offered, own_place
from study.config.compose import VERSION_BASE, composed, parsed
from study.config.values import check_values
from study.errors import UsageError
from study.storage.paths import conf_folder, data_root

if TYPE_CHECKING:
    from study.data.module import DataModule

PIPE_WIDTH = 100
"""Columns of text where the output is no terminal."""
UNKNOWN = "-"
COUNTED = {"table": "columns", "tokens": "tokens"}
"""What the first number of an input's shape counts, by the kind of input."""


@dataclass(frozen=True)
class Subject:
    """A data set as it is told, with its usual network.

    sizes: items of train, validation, repair and test; attribute: what groups are told apart by, empty where no setting
    says so; sensitive: that, and the groups; lack: why the data set
    cannot be used here, empty where it can; own: the setting that names data of the user's own, empty for others.
    Everything else is a text, `UNKNOWN` where only the files would tell.
    """

    name: str
    description: str
    sizes: tuple[int, ...] | None
    classes: str
    inputs: str
    attribute: str
    sensitive: str
    architecture: str
    epsilon: str
    lack: str
    own: str
    source: str
    licence: str
    citation: str

    @classmethod
    def of(cls, values: Mapping[str, Any], option: str, architecture: str) -> Self:
        """From the settings by group, and the chosen options; raises UsageError for a setting that is refused."""
        data, lack = looked_at(values, option)
        return cls(
            name=option,
            description=data.description,
            sizes=data.usual_sizes,
            classes=_classes(data),
            inputs=_inputs(data),
            attribute=_attribute(values["dataset"].get("group")),
            sensitive=_sensitive(data, values["dataset"].get("group")),
            architecture=_usual(architecture),
            epsilon=UNKNOWN if data.epsilon is None else f"{data.epsilon:g}",
            lack=lack or "",
            own=(own_place(values["dataset"]) or "") if not data.source else "",
            source=data.source,
            licence=data.licence,
            citation=data.citation,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 after one sentence on stderr that says what was wrong with the request."""
    options = _parser().parse_intermixed_args(arguments)
    find_own_modules()
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    try:
        subjects = subjects_of(options.words, options.config_dir)
    except UsageError as refusal:
        print(f"study.subjects: {refusal}", file=sys.stderr)
        return 2
    if any("=" not in word for word in options.words):
        for subject in subjects:
            console.print(_page(subject))
        _tell_folder(subjects, console)
    else:
        show(subjects, console)
    return 0


def subjects_of(words: Sequence[str], own: str | None = None) -> list[Subject]:
    """The data sets that are named, all where none is, under the settings (KEY=VALUE) among the words.

    own: folder with configurations of the user's own; raises UsageError as a job's command line does.
    """
    if not words and own is None:
        return _usual_ones()
    names = [word for word in words if "=" not in word] or offered(own)
    settings = [word for word in words if "=" in word]
    folder = ["--config-dir", own] if own else []
    jobs = composed(parsed([*folder, "-m", f"dataset={','.join(names)}", *settings]), conf_folder())
    for job in jobs:
        check_values(job)
    return [Subject.of(job.values, job.choices["dataset"], job.choices["architecture"]) for job in jobs]


def _usual_ones() -> list[Subject]:
    """All data sets of this project; composing whole jobs would take four times as long."""
    with initialize_config_dir(str(conf_folder()), version_base=VERSION_BASE, job_name="study"):
        nodes: dict[str, Any] = {name: compose(f"dataset/{name}") for name in offered(None)}
    values: dict[str, Any] = {name: OmegaConf.to_container(node, resolve=True) for name, node in nodes.items()}
    return [Subject.of(values[name], name, f"default_{name}") for name in values]


def show(subjects: Sequence[Subject], console: Console) -> None:
    """Print what can be compared in one table, and what each data set is in another; 80 columns suffice."""
    listed = [subject for subject in subjects if not subject.own]
    console.print(_numbers(listed), "", _words(listed), "", sep="\n")
    for subject in subjects:
        if subject.own:
            console.print(f"Data of your own: dataset={subject.name} {subject.own}=...", markup=False)
    _tell_folder(listed, console)
    console.print("All about one, its citation too: python -m study.subjects NAME", style="dim")


def _tell_folder(subjects: Sequence[Subject], console: Console) -> None:
    """Where the data folder is, if something has to be put there."""
    if any(subject.lack and not subject.own for subject in subjects):
        told = f"The data folder is {data_root()}; STUDY_DATA or dataset.root names another one."
        console.print(told, style="dim", markup=False, soft_wrap=True)


def _numbers(subjects: Sequence[Subject]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("data set", no_wrap=True)
    table.add_column("train / validation\nrepair / test", justify="right", no_wrap=True)
    for heading in ("classes\ninput", "sensitive", "network\nepsilon", "there"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "sensitive")
    for subject in subjects:
        table.add_row(
            Text(subject.name, style="bold"),
            _sizes(subject, "\n"),
            f"{subject.classes}\n{subject.inputs}",
            subject.attribute or subject.sensitive,
            f"{subject.architecture}\n{subject.epsilon}",
            Text("no", style="dim") if subject.lack else "yes",
        )
    return table


def _words(subjects: Sequence[Subject]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("data set", no_wrap=True)
    table.add_column("what it is, its licence, and how to get what is not there", overflow="fold")
    for subject in subjects:
        told = Text(subject.description).append(f"\nLicence: {subject.licence}", style="dim")
        if subject.lack:
            told.append(f"\nTo get it: {subject.source}")
        table.add_row(Text(subject.name, style="bold"), told)
    return table


def _page(subject: Subject) -> Table:
    """All about one data set: of one's own, what is not known is left out."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # addresses too are told whole
    reason = subject.lack.partition("; ")[0]  # what to do about it follows
    for name, value in {
        "data set": subject.name,
        "description": subject.description,
        "train, validation, repair, test": _sizes(subject, " / "),
        "classes": subject.classes,
        "input": subject.inputs,
        "sensitive attribute": subject.sensitive,
        "usual network": subject.architecture,
        "epsilon of attacks": subject.epsilon,
        "there": f"no: {reason}" if subject.lack else "yes",
        "how to get it": f"set {subject.own} to it" if subject.own else subject.source,
        "licence": subject.licence,
        "cite": subject.citation,
    }.items():
        if not subject.own or value not in ("", UNKNOWN):
            table.add_row(Text(name, style="dim"), Text(value or UNKNOWN))
    table.add_row()
    return table


def _sizes(subject: Subject, between: str) -> str:
    if subject.sizes is None:
        return UNKNOWN
    train, validation, repair, test = (f"{size:,}" for size in subject.sizes)
    return f"{train} / {validation}{between}{repair} / {test}"


def _classes(data: DataModule) -> str:
    try:
        return f"{data.num_classes:,}"
    except UsageError:  # the files tell, and are not there
        return UNKNOWN


def _inputs(data: DataModule) -> str:
    shape = getattr(data, "input_shape", None)
    if shape is None:
        return UNKNOWN
    return "x".join(map(str, shape)) if data.kind == "image" else f"{shape[0]} {COUNTED[data.kind]}"


def _sensitive(data: DataModule, setting: Any) -> str:
    """The attribute, as a setting `group` says, and the groups, as far as they are known."""
    return ": ".join(filter(None, (_attribute(setting), ", ".join(data.group_names or [])))) or UNKNOWN


def _attribute(setting: Any) -> str:
    return " and ".join(setting) if isinstance(setting, list) else str(setting or "")


def _usual(architecture: str) -> str:
    """What the usual architecture of a data set stands for; another one is called by its own name."""
    file = conf_folder() / "architecture" / f"{architecture}.yaml"
    if not architecture.startswith("default_") or not file.is_file():
        return architecture
    node: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    return next((str(entry) for entry in node.get("defaults", []) if entry != "_self_"), architecture)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m study.subjects",
        description="The data sets: usual number of items in each split, classes, inputs, sensitive attribute, usual "
        "network, radius of attacks, whether it is there, and how to get it. A dash: there is none, or only the files "
        "would tell.",
        epilog="Data sets are looked for in $STUDY_DATA, or in data in $STUDY_HOME or the current folder. Example: "
        "python -m study.subjects medmnist dataset.flag=bloodmnist",
    )
    parser.add_argument("words", nargs="*", metavar="NAME", help="data sets to tell all about, and settings KEY=VALUE")
    parser.add_argument("--config-dir", metavar="DIR", help="folder with data sets of your own, as for python -m study")
    return parser


if __name__ == "__main__":
    sys.exit(main())
