"""Tables of people, as their publishers distribute them: what the data sets of real demographics have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from study.data.contents import Contents, Items, contents_of
from study.data.download import Remote, download, fetched
from study.data.labels import numbered
from study.data.module import SPLITS, Limit
from study.data.part_files import Stamped, stamped
from study.data.parted import Parted
from study.data.scaling import fitted
from study.data.table import encoded
from study.data.threat import ThreatModel
from study.errors import UsageError, nearest
from study.runtime.settings import checked_call

if TYPE_CHECKING:
    import pandas as pd

Sensitive = Literal["sex", "race", "age"]
LABEL = "label"
OTHER = "other"
"""What groups that are too small are joined as."""
SHARES = (0.5, 0.1, 0.2, 0.2)
"""Of the rows, for each split, where the publisher knows none: repair has enough wrong answers even of 1,000 rows."""


class People(NamedTuple):
    """A table of people; units, ranges: of each column of numbers its standard deviation, and its ends."""

    contents: Contents
    units: tuple[float, ...]
    ranges: tuple[tuple[float, float], ...]


class Demographics(Parted):
    """A table of people in its publisher's own files, with sensitive groups.

    Inputs are one column for each number, in natural units, and one column of 0 and 1 for each value of the others. The
    classifier standardises the numbers as its first step. Attacks move numbers alone, each within the range that it has
    in the data; they may leave whole numbers.
    root: folder with the files in it, or in `tables`; download: fetch what is missing into `root/tables`; group: the
    sensitive attribute, or several, of which each combination is a group ("female, black"); age: groups by age are
    those under it, and the others; fewest: groups with fewer rows are joined as "other"; group_is_input: whether the
    network sees the sensitive attributes (it does by default: a network that is to be repaired was trained with all
    that there was, and leaving the column out does not make it fair, as others tell the same); drop: columns that are
    no inputs; epsilon: radius of attacks, in standard deviations of each number.

    A subclass states its `files` by the part, the `rows` and `urls` of each file, its classes (of two the second is the
    favourable one), its `sensitive` attributes, where one of them is no input the input that `tells` it, and how to
    read a file.
    """

    files: ClassVar[Mapping[str, str]]
    rows: ClassVar[Mapping[str, int]]
    urls: ClassVar[Mapping[str, str]]
    classes: ClassVar[tuple[str, str]]
    sensitive: ClassVar[tuple[Sensitive, ...]] = ("sex", "race", "age")
    tells: ClassVar[Mapping[str, str]] = {}

    @checked_call
    def __init__(
        self,
        *,
        root: str | None = None,
        download: bool = False,
        group: Sensitive | list[Sensitive] = "sex",
        age: Annotated[int, Field(ge=1, le=120)] = 40,
        fewest: Annotated[int, Field(ge=1)] = 100,
        group_is_input: bool = True,
        drop: list[str] = [],  # noqa: B006 (pydantic copies it)
        limit: Limit = None,
        epsilon: Annotated[float, Field(gt=0)] | None = 0.25,
    ) -> None:
        super().__init__(limit=limit, epsilon=epsilon, mean="auto", std="auto")
        self.root = root
        self.download = download
        self.group: tuple[Sensitive, ...] = (group,) if isinstance(group, str) else tuple(group)
        self.age = age
        self.fewest = fewest
        self.group_is_input = group_is_input
        self.drop = tuple(drop)

    @staticmethod
    @abstractmethod
    def table(text: str, where: str) -> pd.DataFrame:
        """All rows of one file, with the columns of the inputs and of the label; raises UsageError."""

    @staticmethod
    def chosen(frame: pd.DataFrame) -> pd.DataFrame:
        """Those of the rows that are used, with the columns of the inputs and of the label alone."""
        return frame

    @property
    def places(self) -> list[Path]:
        return [folder / name for folder in self._folders for name in self.files.values()]

    @property
    def where(self) -> str:
        return f"dataset={self.name}"

    @property
    def contents(self) -> Contents:
        return self._people.contents

    @property
    def class_names(self) -> list[str]:
        return list(self.classes)

    @property
    def threat(self) -> ThreatModel | None:
        """As `Parted.threat`, each column within its own range and counted in its own standard deviation."""
        people = self._people
        if self.epsilon is None or not people.units:
            return None
        return ThreatModel(
            bounds=people.contents.bounds,
            radius=self.epsilon,
            columns=people.contents.columns,
            units=people.units,
            ranges=people.ranges,
        )

    def check(self) -> None:
        """As `Parted.check`; files that are missing are fetched if they may be."""
        if odd := [name for name in self.group if name not in self.sensitive]:
            raise UsageError(f"dataset.group={odd[0]}: dataset={self.name} has {', '.join(self.sensitive)}")
        if self.download:
            self._fetch()
        super().check()

    def divide(self, source: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """As `Parted.divide`; a table that comes in one part is split by `SHARES`."""
        if len(self.contents.parts) > 1:
            return super().divide(source, generator)
        order = torch.randperm(len(source.labels), generator=generator)
        sizes = [int(share * len(order)) for share in SHARES[1:]]
        return dict(zip(SPLITS, order.split([len(order) - sum(sizes), *sizes]), strict=True))

    @property
    def _people(self) -> People:
        how = (self.group, self.age, self.fewest, self.group_is_input, self.drop)
        return _people(type(self), stamped(self._paths()), *how)

    @property
    def _folders(self) -> list[Path]:
        """Where the files may be, in the order in which they are looked for."""
        return [self.folder / "tables", self.folder]

    def _paths(self) -> dict[str, Path]:
        """The file of each part; raises UsageError if one is missing."""
        found = {}
        for part, name in self.files.items():
            here = [folder / name for folder in self._folders if (folder / name).is_file()]
            if not here:
                raise UsageError(
                    f"dataset={self.name}: {self.folder} does not hold {name} (looked in it and in tables); set "
                    "dataset.root=FOLDER or STUDY_DATA to a folder that holds it, or dataset.download=true to fetch it"
                )
            found[part] = here[0]
        return found

    def _fetch(self) -> None:
        """Fetch the files that are missing; raises UsageError if that fails."""
        home = self._folders[0]
        for name in self.files.values():
            if not any((folder / name).is_file() for folder in self._folders):
                fetched(home / name, f"put it into {home}", partial(self._download, name))

    def _download(self, name: str, room: Path) -> None:
        """Put a file into a folder; raises UsageError unless it is the whole of what its publisher distributes."""
        download(Remote((self.urls[name],)), name, room)
        read(type(self), (room / name).read_bytes(), name, self.urls[name])


@lru_cache(maxsize=2)
def _people(
    data: type[Demographics],
    files: Stamped,
    group: tuple[Sensitive, ...],
    age: int,
    fewest: int,
    group_is_input: bool,
    drop: tuple[str, ...],
) -> People:
    """Kept, as every job of a sweep asks for it."""
    where = f"dataset={data.name}"
    frames = {part: read(data, path.read_bytes(), path.name, str(path)) for part, path, _ in files}
    columns = [name for name in frames["train"].columns if name != LABEL and name not in data.tells]
    if odd := [name for name in drop if name not in columns]:
        raise UsageError(f"dataset.drop={odd[0]}: {where} has no such column; {nearest(odd[0], columns)}")
    left_out = {*drop, *(() if group_is_input else (data.tells.get(name, name) for name in group))}
    inputs = [name for name in columns if name not in left_out]
    labels, names = numbered({part: frame[LABEL].to_numpy() for part, frame in frames.items()}, data.classes, where)
    groups, group_names = _groups(frames, group, age, fewest)
    rows, numbers = encoded(frames, inputs, files[0][1])
    items = {part: Items(rows[part], labels[part], groups.get(part)) for part in frames}
    contents = contents_of(items, where=where, kind="table", classes=names, groups=group_names, columns=numbers)
    _, deviations = fitted(contents.parts["train"].inputs, numbers)
    everybody = torch.cat([part.inputs for part in contents.parts.values()])
    low, high = everybody.amin(0).tolist(), everybody.amax(0).tolist()
    return People(
        contents, tuple(deviations[place] for place in numbers), tuple((low[place], high[place]) for place in numbers)
    )


def read(data: type[Demographics], content: bytes, name: str, where: str) -> pd.DataFrame:
    """The rows of a file; raises UsageError unless it is the whole of what its publisher distributes."""
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        raise UsageError(f"{where} is no text file ({problem.reason}); {name} of dataset={data.name} is") from problem
    frame = data.table(text, where)
    if len(frame) != data.rows[name]:
        raise UsageError(
            f"{where} holds {len(frame):,} rows, and {name} as its publisher distributes it {data.rows[name]:,}: it is "
            "cut off, or another file; get it again (to use a part of it, set dataset.limit)"
        )
    return data.chosen(frame)


def fields(
    text: str, separator: str | None, columns: Sequence[str], numbers: Sequence[str], where: str
) -> pd.DataFrame:
    """A file without a header: `columns` by their order, those in `numbers` as numbers, the others as text.

    separator: between the values, None: blanks. Empty lines, and those that begin with a bar, hold no row.

    Raises:
        UsageError: A line has another number of values, or text where a number is expected.
    """
    import pandas as pd

    rows = []
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("|"):
            continue
        values = [value.strip() for value in line.split(separator)]
        if len(values) != len(columns):
            raise UsageError(f"{where}: line {place} holds {len(values)} values; expected are {len(columns)}")
        rows.append(values)
    frame = pd.DataFrame(rows, columns=list(columns))
    for name in numbers:
        try:
            frame[name] = pd.to_numeric(frame[name])
        except ValueError as problem:
            raise UsageError(f"{where}: the column {name} holds no numbers ({problem})") from problem
    return frame


def _groups(
    frames: Mapping[str, pd.DataFrame], group: tuple[Sensitive, ...], age: int, fewest: int
) -> tuple[dict[str, Tensor], list[str] | None]:
    """Numbers [N] of each part, and the names of the groups; none without an attribute."""
    if not group:
        return {}, None
    texts = {part: np.array(_texts(frame, group, age), dtype=object) for part, frame in frames.items()}
    found, counts = np.unique(np.concatenate(list(texts.values())), return_counts=True)
    rare = set(found[counts < fewest].tolist())
    if len(rare) == len(found) > 1:
        raise UsageError(f"dataset.fewest={fewest}: {', '.join(found)} all have fewer rows; lower it")
    joined = {
        part: np.array([OTHER if text in rare else text for text in column], dtype=object)
        for part, column in texts.items()
    }
    return numbered(joined, None, f"dataset.group={','.join(group)}")


def _texts(frame: pd.DataFrame, group: tuple[Sensitive, ...], age: int) -> list[str]:
    """The group of each row."""
    columns = []
    for name in group:
        if name == "age":
            columns.append([f"under {age}" if years < age else f"{age} and over" for years in frame["age"]])
        else:
            columns.append([str(value).lower() for value in frame[name]])
    return [", ".join(row) for row in zip(*columns, strict=True)]
