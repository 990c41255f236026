"""Bugs2Fix (small): Java methods before and after a bug was fixed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from study.data.code_tokens import Language
from study.data.functions import Function, Functions
from study.data.hub import hub_rows
from study.data.module import Limit
from study.runtime.settings import checked_call

HUB = ("google/code_x_glue_cc_code_refinement", "small")


class Bugs2Fix(Functions):
    """Pairs of short Java methods, their names abstracted (VAR_1, METHOD_2): is this the one before the fix?

    Lines of `bugs2fix_small.jsonl` hold split, pair, buggy and fixed. Of the official parts, 46,680 / 5,835 / 5,835
    pairs, train may be missing: then nine tenths of valid are train. Both methods of a pair are in one split.
    """

    name = "bugs2fix"
    description = "programming (Java, Bugs2Fix small): is this method the one before a bug was fixed?"
    licence = "C-UDA (CodeXGLUE's Data_LICENCE)"
    citation = (
        'Tufano et al., "An Empirical Study on Learning Bug-Fixing Patches in the Wild via Neural Machine '
        'Translation", TOSEM 28(4), 2019; Lu et al., "CodeXGLUE", NeurIPS Datasets and Benchmarks 2021'
    )
    by_hand = (
        "put bugs2fix_small.jsonl (CodeXGLUE's code-refinement, a pair a line with split, pair, buggy and fixed) into "
        "code in the data folder"
    )
    source = f"Set dataset.download=true (takes pip install 'repair-study[hub]'), or {by_hand}."
    files: ClassVar[Mapping[str, str | None]] = {"bugs2fix_small.jsonl": None}
    fields: ClassVar[Mapping[str, type]] = {"split": str, "pair": int, "buggy": str, "fixed": str}
    sizes: ClassVar[Mapping[str, int]] = {"train": 2 * 46_680, "valid": 2 * 5_835, "test": 2 * 5_835}
    optional: ClassVar[tuple[str, ...]] = ("train",)
    language: ClassVar[Language] = "java"
    classes = ("fixed", "buggy")
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
        length: Annotated[int, Field(ge=8, le=10_000)] = 72,
        vocabulary: Annotated[int, Field(ge=10, le=1_000_000)] = 2000,
        limit: Limit = None,
    ) -> None:
        super().__init__(root=root, download=download, length=length, vocabulary=vocabulary, limit=limit)

    @staticmethod
    def functions(line: Mapping[str, Any]) -> Iterable[Function]:
        """See `Functions.functions`."""
        unit = f"{line['split']} {line['pair']}"
        return [Function(line["buggy"], 1, unit), Function(line["fixed"], 0, unit)]

    def fetch(self) -> Mapping[str, Iterable[Mapping[str, Any]]]:
        """See `Functions.fetch`."""
        lines = [
            {"split": part, "pair": row["id"], "buggy": row["buggy"], "fixed": row["fixed"]}
            for part, rows in hub_rows(*HUB).items()
            for row in rows
        ]
        return {next(iter(self.files)): lines}
