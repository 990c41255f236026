"""The house: imports run one way, no file is too long to see whole, and nothing is a room without a purpose."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "study"
LAYERS = (
    ("errors",),
    ("storage",),
    ("runtime",),
    ("data",),
    ("models",),
    ("problem",),
    ("metrics",),
    ("parts",),
    ("repairs",),
    ("methods", "safeguards"),
    ("tracking",),
    ("config",),
    ("job", "record", "api"),
    ("frontier", "pairs"),
    ("cli",),
    ("__main__",),
    ("compare", "subjects"),
)
"""From the bottom to the top; a file imports what lies in a lower row, or in its own room."""
FILES = sorted(SOURCE.rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path) -> Iterator[str]:
    """Modules of this package that a file imports, wherever in the file, without the package's own name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "study":
            inside = node.module.removeprefix("study").removeprefix(".")
            for alias in node.names:
                longer = ".".join(filter(None, (inside, alias.name)))
                path = SOURCE / Path(*longer.split("."))
                yield longer if path.is_dir() or path.with_suffix(".py").exists() else inside
        elif isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("study.") for alias in node.names if alias.name.startswith("study."))


def row(module: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if module.split(".")[0] in rooms)


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_run_downwards(file: Path) -> None:
    here = module_of(file)
    room = here.split(".")[0]
    if room in ("", "report"):
        return
    for there in imported(file):
        if there.split(".")[0] == room:
            continue
        assert row(there) < row(here), f"{here} imports {there}"


def test_the_report_shares_only_storage_and_errors() -> None:
    rooms = {there.split(".")[0] for file in (SOURCE / "report").rglob("*.py") for there in imported(file)}
    assert rooms <= {"report", "storage", "errors"}


def test_no_part_knows_an_approach_and_no_approach_another() -> None:
    for file in FILES:
        if module_of(file).split(".")[0] in ("parts", "methods", "problem", "metrics", "safeguards"):
            assert not any(there.startswith("methods") for there in imported(file)), file


def test_repair_and_metrics_need_neither_hydra_nor_mlflow() -> None:
    """Nor does anything under them: that is what makes the package usable from a notebook."""
    for file in FILES:
        room = module_of(file).split(".")[0]
        if room not in ("", "report") and row(room) <= row("methods"):
            nodes = list(ast.walk(ast.parse(file.read_text())))
            names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
            names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
            assert not {name.split(".")[0] for name in names} & {"hydra", "omegaconf", "mlflow"}, file


def test_there_is_no_import_cycle() -> None:
    graph = {module_of(file): set(imported(file)) for file in FILES}
    state: dict[str, str] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert state.get(module) != "open", " -> ".join((*path, module))
        if state.get(module) == "done":
            return
        state[module] = "open"
        for there in graph.get(module, ()):
            visit(there, (*path, module))
        state[module] = "done"

    for module in graph:
        visit(module, ())


def test_approaches_fit_on_a_few_screens_and_the_job_on_two() -> None:
    lengths = {module_of(file): len(file.read_text().splitlines()) for file in FILES}
    assert {name: length for name, length in lengths.items() if name.startswith("methods.") and length >= 150} == {}
    assert lengths["job"] < 120
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_methods_hold_approaches_and_nothing_else() -> None:
    for file in (SOURCE / "methods").rglob("*.py"):
        if file.name != "__init__.py":
            assert file.read_text().count("(Approach):") == 1, file


def test_no_room_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "tools"}
    assert not drawers & {part for file in FILES for part in module_of(file).split(".")}
