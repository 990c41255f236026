"""Functions of programs, each with a bug or without: what the data sets of code have in common."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from study.data.code_tokens import PADDING, Language, Vocabulary, tokens
from study.data.contents import Contents, Items, contents_of
from study.data.download import fetched
from study.data.module import SPLITS
from study.data.part_files import Stamped, stamped
from study.data.parted import Parted
from study.data.renaming import RENAMED, Renamed
from study.data.source import Source
from study.data.split import Change
from study.errors import UsageError
from study.runtime.randomness import stream
from study.storage.files import key_of

SHARE = 0.1
"""Of the train part, for validation where the publisher has none."""
NAMES_FROM = 500
"""Functions of the train split whose local names the renamed ones are given."""


class Function(NamedTuple):
    """text: of the function; label: 1 with a bug, 0 without; unit: what others share, such as a file."""

    text: str
    label: int
    unit: str


class Corpus(NamedTuple):
    """A data set of code. texts: in the order of the items; units: [N] int64, those that must not be divided."""

    contents: Contents
    texts: tuple[str, ...]
    units: Tensor
    vocabulary: Vocabulary


class Functions(Parted):
    """Functions as token ids [N, length] int64, in the publisher's own split; label 1: with a bug.

    Train and validation are the publisher's; where there is no validation it is a tenth of train, and where there is no
    train, nine tenths of validation are train. Repair and test are halves of the publisher's test part. Functions of
    one unit (a source file, a pair, a commit) are never divided where we divide, nor are equal texts; a function whose
    text occurs in a later part as well is left out. The vocabulary is that of the train split; inputs are also offered
    with other names for their local variables (`variants`).
    root: folder with the files in it, or in `code`; length: tokens of a sequence, a longer one is cut at its end;
    vocabulary: different ids at most; download: fetch what is missing into `root/code`.

    A subclass states its `files` (where each holds one part, by that), the `fields` of a line, the `sizes` of the
    publisher's parts in functions (those in `optional` may be missing), its language, and what a line holds; one that
    can be fetched also `fetch`, and what to do `by_hand` where that fails.
    """

    files: ClassVar[Mapping[str, str | None]]
    fields: ClassVar[Mapping[str, type]]
    sizes: ClassVar[Mapping[str, int]]
    optional: ClassVar[tuple[str, ...]] = ()
    language: ClassVar[Language]
    classes: ClassVar[tuple[str, str]] = ("without a bug", "with a bug")
    by_hand: ClassVar[str] = ""
    renamable = True

    def __init__(
        self, *, root: str | None, length: int, vocabulary: int, limit: int | None, download: bool = False
    ) -> None:
        super().__init__(limit=limit, epsilon=None, mean=None, std=None)
        self.root = root
        self.length = length
        self.vocabulary = vocabulary
        self.download = download
        self.kind, self.input_shape = "tokens", (length,)

    @staticmethod
    @abstractmethod
    def functions(line: Mapping[str, Any]) -> Iterable[Function]:
        """The functions that a line of a file holds."""

    def fetch(self) -> Mapping[str, Iterable[Mapping[str, Any]]]:
        """The lines of each file, from the publisher; raises UsageError where there is none to be asked."""
        raise UsageError(f"dataset={self.name}: it is nowhere to be fetched from; {self.source}")

    @property
    def places(self) -> list[Path]:
        return [folder / name for folder in self._folders for name in self.files]

    @property
    def where(self) -> str:
        return f"dataset={self.name}"

    @property
    def contents(self) -> Contents:
        return self._corpus.contents

    @property
    def class_names(self) -> list[str]:
        return list(self.classes)

    @property
    def num_tokens(self) -> int:
        """Number of different ids."""
        return len(self._corpus.vocabulary)

    @property
    def follows(self) -> dict[str, Any]:
        """As `DataModule.follows`; `num_tokens`, `padding`, the id that fills sequences up, and their `length`."""
        return super().follows | {"num_tokens": self.num_tokens, "padding": PADDING, "length": self.length}

    @property
    def presentation(self) -> list[Any]:
        """As `DataModule.presentation`; what ids mean belongs to it."""
        return [*super().presentation, key_of(self._corpus.vocabulary.tokens)]

    def check(self) -> None:
        """As `Parted.check`; files that are missing are fetched if they may be."""
        if self.download:
            self._fetch()
        super().check()

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        """As `Parted.divide`; the test part is halved by its units."""
        corpus = self._corpus
        sizes = [len(part.labels) for part in corpus.contents.parts.values()]
        train, validation, test = torch.arange(sum(sizes)).split(sizes)
        inside = _drawn(corpus.units[test], len(test) // 2, generator)
        return dict(zip(SPLITS, (train, validation, test[inside], test[~inside]), strict=True))

    def variants(self, source: Source, indices: Tensor) -> Mapping[str, Change]:
        """As `DataModule.variants`: with other names for parameters and local variables."""
        corpus = self._corpus
        texts = [corpus.texts[place] for place in indices.tolist()]
        return {RENAMED: Renamed(texts, corpus.vocabulary, self.length, corpus.texts[:NAMES_FROM])}

    @property
    def _corpus(self) -> Corpus:
        paths = {name: self._found(name) for name in self.files}
        if missing := [name for name, path in paths.items() if path is None]:
            raise UsageError(
                f"dataset={self.name}: {self.folder} does not hold {missing[0]} (looked in it and in code); set "
                f"dataset.root=FOLDER or STUDY_DATA to a folder that holds it; how to get it: {self.source}"
            )
        there = stamped({name: path for name, path in paths.items() if path is not None})
        return _corpus(type(self), there, self.length, self.vocabulary)

    @property
    def _folders(self) -> list[Path]:
        """Where the files may be, in the order in which they are looked for."""
        return [self.folder / "code", self.folder]

    def _found(self, name: str) -> Path | None:
        return next((folder / name for folder in self._folders if (folder / name).is_file()), None)

    def _fetch(self) -> None:
        """Fetch the files that are missing; raises UsageError if that fails."""
        for name in self.files:
            if self._found(name) is None:
                fetched(self._folders[0] / name, self.by_hand, partial(self._write, name))

    def _write(self, name: str, room: Path) -> None:
        """Write a file of what the publisher has into a folder; raises UsageError unless it is whole."""
        file = room / Path(name).name
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(line) + "\n" for line in self.fetch()[name])
        try:
            functions_in(type(self), name, file)
        except UsageError as problem:  # of a file that does not stay
            raise UsageError(f"dataset.download=true: {str(problem).replace(str(file), name)}") from problem


@lru_cache(maxsize=2)
def _corpus(data: type[Functions], files: Stamped, length: int, vocabulary: int) -> Corpus:
    """Kept, as every job of a sweep asks for it."""
    parts: dict[str, list[Function]] = {}
    for name, path, _ in files:
        parts |= functions_in(data, name, path)
    ready = _without_repeats(_completed(parts))
    sequences = {part: [tokens(function.text, data.language) for function in held] for part, held in ready.items()}
    known = Vocabulary(sequences["train"], data.language, vocabulary)
    items = {
        part: Items(known.encoded(sequences[part], length), torch.tensor([function.label for function in held]))
        for part, held in ready.items()
    }
    contents = contents_of(items, where=f"dataset={data.name}", kind="tokens", classes=data.classes)
    everything = [function for held in ready.values() for function in held]
    return Corpus(contents, tuple(function.text for function in everything), _units(everything), known)


def functions_in(data: type[Functions], name: str, path: Path) -> dict[str, list[Function]]:
    """The functions of the file `name` of a data set, which lies at `path`, by the part.

    Raises:
        UsageError: A line is not as expected, or a part is not whole.
    """
    only = data.files[name]
    parts: dict[str, list[Function]] = {part: [] for part in ([only] if only else data.sizes)}
    for line in _lines(path, data.fields):
        part = only or line["split"]
        if part not in parts:
            raise UsageError(f"{path}: there is the split {part}; the splits are {', '.join(parts)}")
        parts[part] += data.functions(line)
    for part, held in parts.items():
        if len(held) != data.sizes[part] and (held or part not in data.optional):
            raise UsageError(
                f"{path} holds {len(held):,} functions of the {part} part, which has {data.sizes[part]:,}: the "
                "file is cut off, or another one; get it again (to use a part of it, set dataset.limit)"
            )
    return parts


def _lines(path: Path, fields: Mapping[str, type]) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON-lines file; raises UsageError, with the number of the line, for what is none."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
            except ValueError as problem:
                raise UsageError(f"{path}: line {number} is no JSON, as if cut off ({problem})") from problem
            held = entry if isinstance(entry, dict) else {}
            wrong = [name for name, kind in fields.items() if not isinstance(held.get(name), kind)]
            if wrong:
                expected = ", ".join(fields)
                raise UsageError(f"{path}: line {number} has no {wrong[0]} as expected; a line holds {expected}")
            yield held


def _completed(parts: Mapping[str, list[Function]]) -> dict[str, list[Function]]:
    """Functions of train, validation and test; what is missing of the first two is drawn, the same under every seed."""
    train, validation, test = parts.get("train", []), parts.get("valid", []), parts["test"]
    if not train or not validation:
        whole = train or validation
        held = _drawn(_units(whole), int(SHARE * len(whole)), stream(0, "validation")).tolist()
        train = [function for function, drawn in zip(whole, held, strict=True) if not drawn]
        validation = [function for function, drawn in zip(whole, held, strict=True) if drawn]
    return {"train": train, "validation": validation, "test": test}


def _without_repeats(parts: Mapping[str, list[Function]]) -> dict[str, list[Function]]:
    """Without the functions whose text occurs in a later part as well."""
    kept: dict[str, list[Function]] = {}
    later: set[str] = set()
    for part, held in reversed(list(parts.items())):
        kept[part] = [function for function in held if function.text not in later]
        later |= {function.text for function in held}
    return {part: kept[part] for part in parts}


def _units(functions: Sequence[Function]) -> Tensor:
    """[N] int64: functions that share a unit or a text, directly or by way of others, have the same number."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for function in functions:
        parent[root(f"text {function.text}")] = root(f"unit {function.unit}")
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(root(f"unit {each.unit}"), len(numbers)) for each in functions])


def _drawn(units: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """[N] bool: whole units, drawn until there are `size` items or would be more."""
    _, places, counts = units.unique(return_inverse=True, return_counts=True)
    chosen, items = torch.zeros(len(counts), dtype=torch.bool), 0
    for unit in torch.randperm(len(counts), generator=generator).tolist():
        if items + int(counts[unit]) <= size:
            chosen[unit] = True
            items += int(counts[unit])
    return chosen[places]
