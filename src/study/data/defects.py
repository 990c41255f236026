"""Devign, as CodeXGLUE divides it: C functions with a vulnerability or without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from study.data.code_tokens import Language
from study.data.functions import Function, Functions
from study.data.hub import hub_rows
from study.data.module import Limit
from study.runtime.settings import checked_call

HUB = "google/code_x_glue_cc_defect_detection"


class Defects(Functions):
    """27,318 C functions of QEMU and FFmpeg: 21,854 train, 2,732 validation, about 1,366 repair and test each.

    `defects/train.jsonl`, `valid.jsonl` and `test.jsonl` as CodeXGLUE's preprocessing writes them: lines with project,
    commit_id, target, func and idx. The official split divides commits; where the test part is halved they are not.
    """

    name = "defects"
    description = "programming (C, Devign): does this function hold a vulnerability?"
    licence = "C-UDA (CodeXGLUE's Data_LICENCE); the functions are under the licences of QEMU and FFmpeg"
    citation = (
        'Zhou et al., "Devign: Effective Vulnerability Identification by Learning Comprehensive Program Semantics", '
        'NeurIPS 2019; Lu et al., "CodeXGLUE", NeurIPS Datasets and Benchmarks 2021'
    )
    by_hand = (
        "put train.jsonl, valid.jsonl and test.jsonl of CodeXGLUE's defect-detection into code/defects in the data "
        "folder"
    )
    source = f"Set dataset.download=true (takes pip install 'repair-study[hub]'), or {by_hand}."
    files: ClassVar[Mapping[str, str | None]] = {
        "defects/train.jsonl": "train",
        "defects/valid.jsonl": "valid",
        "defects/test.jsonl": "test",
    }
    fields: ClassVar[Mapping[str, type]] = {"project": str, "commit_id": str, "target": int, "func": str, "idx": int}
    sizes: ClassVar[Mapping[str, int]] = {"train": 21_854, "valid": 2_732, "test": 2_732}
    language: ClassVar[Language] = "c"
    classes = ("sound", "vulnerable")
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 6,
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 64,
        "augmentation": "none",
    }

    @checked_call
    def __init__(
        self,
        *,
        root: str | None = None,
        download: bool = False,
        length: Annotated[int, Field(ge=8, le=10_000)] = 384,
        vocabulary: Annotated[int, Field(ge=10, le=1_000_000)] = 8000,
        limit: Limit = None,
    ) -> None:
        super().__init__(root=root, download=download, length=length, vocabulary=vocabulary, limit=limit)

    @staticmethod
    def functions(line: Mapping[str, Any]) -> Iterable[Function]:
        """See `Functions.functions`."""
        return [Function(line["func"], int(line["target"]), f"{line['project']} {line['commit_id']}")]

    def fetch(self) -> Mapping[str, Iterable[Mapping[str, Any]]]:
        """See `Functions.fetch`."""
        rows = hub_rows(HUB)
        return {
            name: ({**row, "idx": row["id"], "target": int(row["target"])} for row in rows[str(part)])
            for name, part in self.files.items()
        }
