"""Small data sets of code, in the layouts of their publishers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from study.data.bugs2fix import Bugs2Fix
from study.data.defects import Defects
from study.data.swapped_operands import SwappedOperands

SETS = {"swapped_operands": SwappedOperands, "bugs2fix": Bugs2Fix, "defects": Defects}
PARTS = {"train": 60, "valid": 20, "test": 40}


def write_programs(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """All files in `folder/code`; the classes expect their numbers of functions."""
    patch.setattr(SwappedOperands, "sizes", PARTS)
    patch.setattr(Bugs2Fix, "sizes", {part: 2 * count for part, count in PARTS.items()})
    patch.setattr(Defects, "sizes", PARTS)
    write_lines(folder / "code" / "swapped_operands.jsonl", swapped())
    write_lines(folder / "code" / "bugs2fix_small.jsonl", pairs())
    for part in PARTS:
        write_lines(folder / "code" / "defects" / f"{part}.jsonl", (line for p, line in devign() if p == part))
    return folder


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def swapped() -> list[dict[str, Any]]:
    """Four functions a file; every other one has swapped operands."""
    return [
        {
            "split": part,
            "package": "here",
            "module": f"{part}{n // 4}.py",
            "function": "total",
            "label": n % 2,
            "operator": "<" if n % 2 else "",
            "line": 3 if n % 2 else 0,
            "code": f"def total(values, limit{n}):\n    found = 0\n    for value in values:\n"
            f"        if {swap(n % 2 == 1, 'value', f'limit{n}')}:\n            found += value\n"
            f"    return found - {number}",
        }
        for number, (part, n) in enumerate((part, n) for part, count in PARTS.items() for n in range(count))
    ]


def swap(swapped: bool, left: str, right: str) -> str:
    return f"{right} < {left}" if swapped else f"{left} < {right}"


def pairs() -> list[dict[str, Any]]:
    """The fixed method has one line more; those of train and test that end in 3 are the same."""
    return [
        {
            "split": part,
            "pair": n,
            "buggy": f"public int METHOD_1 ( int VAR_1 ) {{ return VAR_1 + "
            f"{'shared' if n % 10 == 3 else part} . f{n} ; }}",
            "fixed": f"public int METHOD_1 ( int VAR_1 ) {{ if ( VAR_1 < 0 ) return 0 ; return {part} . f{n} ; }}",
        }
        for part, count in PARTS.items()
        for n in range(count)
    ]


def devign() -> list[tuple[str, dict[str, Any]]]:
    """Two functions a commit."""
    return [
        (
            part,
            {
                "project": "qemu",
                "commit_id": f"{part}{n // 2}",
                "target": n % 2,
                "func": f"int f{n}_{part}(char *from, int size)\n{{\n    /* copy */\n    char to[{n + 8}];\n"
                f"    {'if (size > sizeof(to)) return -1;' if n % 2 == 0 else ''}\n    memcpy(to, from, size);\n"
                "    return 0;\n}\n",
                "idx": n,
            },
        )
        for part, count in PARTS.items()
        for n in range(count)
    ]
