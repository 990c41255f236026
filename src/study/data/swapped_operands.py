"""Swapped operands: Python functions, in half of which two operands have changed places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from study.data.code_tokens import Language
from study.data.functions import Function, Functions
from study.data.module import Limit
from study.runtime.settings import checked_call


class SwappedOperands(Functions):
    """12,995 Python functions of CPython and six scientific packages, 60 to 1,500 characters each.

    In a random half the two operands of one operator (- / // % ** << >> < <= > >= in, not in) have changed places. All
    functions of a source file are in one split: 9,744 train, 1,178 validation, about 1,036 repair and 1,037 test. Lines
    of `swapped_operands.jsonl` hold split, package, module, function, label, operator, line and code.
    """

    name = "swapped_operands"
    description = "programming (Python): have two operands of this function changed places?"
    licence = "PSF-2.0 (CPython) and BSD-3-Clause (sympy, networkx, scikit-learn, pandas, numpy, scipy)"
    citation = (
        'after the idea of Kanade et al., "Learning and Evaluating Contextual Embedding of Source Code", ICML 2020'
    )
    source = (
        "It is published nowhere: put swapped_operands.jsonl, made of open-source packages by exchanging operands (a "
        "function a line with split, package, module, label and code), into code in the data folder."
    )
    usual_sizes = (9_744, 1_178, 1_036, 1_037)
    files: ClassVar[Mapping[str, str | None]] = {"swapped_operands.jsonl": None}
    fields: ClassVar[Mapping[str, type]] = {"split": str, "package": str, "module": str, "label": int, "code": str}
    sizes: ClassVar[Mapping[str, int]] = {"train": 9_744, "valid": 1_178, "test": 2_073}
    language: ClassVar[Language] = "python"
    classes = ("as written", "operands swapped")
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 12,
        "optimizer": "adam",
        "lr": 2e-3,
        "batch_size": 64,
        "augmentation": "none",
    }

    @checked_call
    def __init__(
        self,
        *,
        root: str | None = None,
        length: Annotated[int, Field(ge=8, le=10_000)] = 192,
        vocabulary: Annotated[int, Field(ge=10, le=1_000_000)] = 4000,
        limit: Limit = None,
    ) -> None:
        super().__init__(root=root, length=length, vocabulary=vocabulary, limit=limit)

    @staticmethod
    def functions(line: Mapping[str, Any]) -> Iterable[Function]:
        """See `Functions.functions`."""
        return [Function(line["code"], line["label"], f"{line['package']}/{line['module']}")]
