"""Any images made unfair on purpose: a class comes mostly in colour or mostly in grey (Wang et al., CVPR 2020)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, InstanceOf
from torch import Tensor

from study.data.module import SPLITS, DataModule, Epsilon, Limit
from study.data.source import Source
from study.data.split import Inputs
from study.data.versions import Versions, in_versions, tints
from study.errors import UsageError, nearest
from study.runtime.settings import checked_call

VERSIONS = ("colour", "grey")
PAPER = (
    'Wang, Qinami, Karakozis, Genova, Nair, Hata, Russakovsky, "Towards Fairness in Visual Recognition: Effective '
    'Strategies for Bias Mitigation", CVPR 2020'
)


class Skewed(DataModule):
    """The images of another data set, [N, 3, H, W]; the sensitive group of an item is its version: colour or grey.

    Train and validation hold each item once: of a class in `coloured` the share `ratio`, drawn at random, in colour and
    the rest in grey, of any other class the reverse. Repair and test hold each item in both versions, side by side in
    no order; no item lies in two splits. A grey image (one channel) is given its colour by a tint of its own, the same
    under every seed.
    of: the data set; its `limit` is to be left alone; ratio: of a class that is in its usual version; coloured: classes
    that are usually in colour, None: the first half; name: what results call it; epsilon: auto is that of `of`.
    Description, licence and source are those of `of`.
    """

    name = "skewed"

    @checked_call
    def __init__(
        self,
        *,
        of: InstanceOf[DataModule],
        ratio: Annotated[float, Field(ge=0.5, le=1)] = 0.95,
        coloured: list[str] | None = None,
        name: str | None = None,
        limit: Limit = None,
        epsilon: Epsilon | Literal["auto"] | None = "auto",
    ) -> None:
        super().__init__(root=of.root, limit=limit, epsilon=of.epsilon if epsilon == "auto" else epsilon)
        if of.limit is not None:
            raise UsageError(f"dataset.of.limit={of.limit}: set dataset.limit, which holds for the skewed splits")
        self.of = of
        self.ratio = ratio
        self.coloured = coloured
        self.title = name or f"{of.title}_s"
        self.group_names = list(VERSIONS)
        self.in_memory_gib = of.in_memory_gib
        self.affine_invariant = of.affine_invariant
        self.recipe = of.recipe  # type: ignore[misc]
        if of.description:
            self.description = f"{of.description}; half of the classes mostly in colour, half in grey"
        self.licence, self.source = of.licence, _below(of.source)
        self.citation = "; ".join(text for text in (of.citation, PAPER) if text)
        if hasattr(of, "input_shape"):
            self.input_shape = (3, *of.input_shape[1:])
        if of.usual_sizes is not None:
            train, validation, repair, test = of.usual_sizes
            self.usual_sizes = (train, validation, 2 * repair, 2 * test)

    @property
    def class_names(self) -> list[str]:
        return self.of.class_names

    @property
    def random_splits(self) -> bool:
        return self.of.random_splits

    @property
    def places(self) -> list[Path] | None:
        return self.of.places

    @property
    def presentation(self) -> list[Any]:
        """As `DataModule.presentation`, after that of the data set underneath."""
        return [*self.of.presentation, *super().presentation]

    def adopt(self, architecture: Mapping[str, Any]) -> None:
        self.of.adopt(architecture)

    def check(self) -> None:
        """Raise UsageError if the data set underneath cannot be used, holds no images, or lacks a coloured class."""
        with _settings_of_the_inner():
            self.of.check()
        self.kind, self.bounds = self.of.kind, self.of.bounds
        if self.kind != "image" or self.of.input_shape[0] not in (1, 3):
            shape = "x".join(map(str, self.of.input_shape))
            raise UsageError(
                f"dataset.of={self.of.title}: its inputs are {self.kind} inputs of {shape}; images of 1 or 3 channels "
                "can be skewed"
            )
        _, height, width = self.of.input_shape
        self.input_shape = (3, height, width)
        self.mean, self.std = _for_three(self.of.mean), _for_three(self.of.std)
        for name in self.coloured or []:
            if name not in self.class_names:
                raise UsageError(f"dataset.coloured: there is no class {name}; {nearest(name, self.class_names)}")

    def prepare_data(self) -> None:
        with _settings_of_the_inner():
            self.of.prepare_data()

    def read(self) -> Source:
        """Each item twice: in colour, and after all of these in grey."""
        with _settings_of_the_inner():
            return SkewedSource(self.of.read(), grey=self.of.input_shape[0] == 1)

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        assert isinstance(source, SkewedSource)
        with _settings_of_the_inner():
            splits = self.of.divide(source.of, generator)
        whole = {name: torch.cat([splits[name], splits[name] + source.items]) for name in ("repair", "test")}
        for name in ("train", "validation"):
            whole[name] = splits[name] + source.items * self._versions(source.labels[splits[name]], generator)
        return {name: whole[name] for name in SPLITS}

    def _versions(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """0 (colour) or 1 (grey) for each of these items [N] of a split: exact shares of each class."""
        names = self.class_names
        coloured = names[: len(names) // 2] if self.coloured is None else self.coloured
        versions = torch.zeros_like(labels)
        for label, name in enumerate(names):
            its = (labels == label).nonzero().flatten()
            usual = round(self.ratio * len(its))
            order = its[torch.randperm(len(its), generator=generator)]
            versions[order[usual:] if name in coloured else order[:usual]] = 1
        return versions


@dataclass(frozen=True)
class SkewedSource:
    """The items of a source in colour, then the same in grey; see `study.data.source.Source`.

    grey: the source holds grey images, which are tinted.
    """

    of: Source
    grey: bool

    @property
    def items(self) -> int:
        return len(self.of.labels)

    @property
    def labels(self) -> Tensor:
        return self.of.labels.repeat(2)

    @property
    def groups(self) -> Tensor:
        return torch.arange(2).repeat_interleave(self.items)

    def take(self, indices: Tensor) -> Inputs:
        """The inputs of the items at `indices` [M]: in memory where those of the source are."""
        places, greyed = indices % self.items, indices >= self.items
        tint = tints(self.items)[places] if self.grey else None
        images = self.of.take(places)
        return in_versions(images, greyed, tint) if isinstance(images, Tensor) else Versions(images, greyed, tint)

    def digest(self, indices: Tensor) -> str:
        """Hash of the items at `indices` [M], in whichever version: that is a matter of the split."""
        used = (indices % self.items).unique()
        return hashlib.sha256(f"{self.of.digest(used)}:{self.grey}".encode()).hexdigest()


@contextmanager
def _settings_of_the_inner() -> Iterator[None]:
    """A refusal by the data set underneath names its settings as they are called here."""
    try:
        yield
    except UsageError as problem:
        raise UsageError(_below(str(problem))) from problem


def _below(text: str) -> str:
    """With dataset.of.root in place of dataset.root, and so on."""
    return re.sub(r"\bdataset\.(?=[a-z])", "dataset.of.", text)


def _for_three(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else list(values) * (3 // len(values))
