"""Functions whose parameters and local variables have other names: the same program to a computer, and to a person."""

from __future__ import annotations

import ast
import builtins
import hashlib
import keyword
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from study.data.code_tokens import Language, Vocabulary, lexemes, subwords, tokens
from study.data.local_names import PRIMITIVE, RESERVED, is_free, local_names

KEYWORDS: Mapping[Language, frozenset[str]] = {
    "python": frozenset({*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}),
    "java": frozenset(RESERVED | PRIMITIVE),
    "c": frozenset(RESERVED | PRIMITIVE),
}
"""Words of a language that no variable may, or should, be called."""
RENAMED = "renamed"
"""What a split calls this change of its inputs, see `Split.variants`."""
DRAWS = 20
"""For each local name; where they bring too few new names, the others are v0, v1 and so on."""


def renamed(text: str, language: Language, names: Sequence[str]) -> str:
    """The function with other names for its parameters and local variables, the same new name for each occurrence.

    They are drawn from `names` as often as these occur there, without any that occurs in the text, by a hash of the
    text: the same on every machine and under every seed. Attributes, and the names of arguments in calls, stay; a text
    without local names stays as it is, and of the others Python is written anew by `ast.unparse`.
    """
    template = Template.of(text, language)
    return filled(template.text, template.drawn(_draw_of(text), names))


@dataclass(frozen=True)
class Template:
    """A function with a placeholder at each occurrence of a local name.

    text: of the program, with placeholders; places: these, in the order of their first occurrence; taken, reserved:
    words of the program and of its language, which no local name may be changed to.
    """

    text: str
    places: tuple[str, ...]
    taken: frozenset[str]
    reserved: frozenset[str]

    @classmethod
    def of(cls, text: str, language: Language) -> Template:
        """The text as it is where there are no local names."""
        local = local_names(text, language)
        if not local:
            return cls(text, (), frozenset(), KEYWORDS[language])
        found = lexemes(text, language)
        taken = frozenset(lexeme.text for lexeme in found)
        mark = "LOCAL"
        while mark in text:
            mark += "_"
        new = {name: f"{mark}{number}_" for number, name in enumerate(local)}
        if language == "python":
            written = ast.unparse(_Renamer(new).visit(ast.parse(text)))
        else:
            written = " ".join(
                new[each.text] if each.text in new and is_free(found, place) else each.text
                for place, each in enumerate(found)
            )
        return cls(written, tuple(new.values()), taken, KEYWORDS[language])

    def drawn(self, draw: random.Random, names: Sequence[str]) -> dict[str, str]:
        """A new name for each placeholder."""
        count = len(self.places)
        often = (draw.choice(names) for _ in range(DRAWS * count if names else 0))
        spare = (f"v{number}" for number in range(len(self.taken) + count))
        fresh: dict[str, None] = {}
        for name in chain(often, spare):
            if len(fresh) == count:
                break
            if name not in self.taken and name not in self.reserved:
                fresh[name] = None
        return dict(zip(self.places, fresh, strict=True))


def filled(text: str, new: Mapping[str, str]) -> str:
    """A text with these names in place of the placeholders."""
    return re.sub("|".join(map(re.escape, new)), lambda found: new[found.group()], text) if new else text


class Renamed:
    """The inputs of functions with other names, [M, length] int64, renamed when they are asked for.

    vocabulary: of the train split; others: functions whose local names the new ones are drawn from.
    """

    def __init__(self, texts: Sequence[str], vocabulary: Vocabulary, length: int, others: Sequence[str]) -> None:
        self.texts, self.vocabulary, self.length, self.others = texts, vocabulary, length, tuple(others)
        self.templates: dict[int, Encoded] = {}

    def __call__(self, indices: Tensor, generator: torch.Generator | None) -> Tensor:
        """As `Change`; without a generator the names are those of `renamed`."""
        places = indices.tolist()
        if generator is None:
            draws = [_draw_of(self.texts[place]) for place in places]
        else:
            seeds = torch.randint(2**62, (len(places),), generator=generator, device=generator.device)
            draws = [random.Random(seed) for seed in seeds.tolist()]
        names = _names(self.others, self.vocabulary.language)
        rows = [self._row(place, draw, names) for place, draw in zip(places, draws, strict=True)]
        return self.vocabulary.filled(rows, self.length).to(indices.device)

    def _row(self, place: int, draw: random.Random, names: Sequence[str]) -> list[int]:
        """The ids of a function with new names."""
        if place not in self.templates:
            self.templates[place] = Encoded.of(self.texts[place], self.vocabulary, self.length)
        encoded = self.templates[place]
        new = encoded.template.drawn(draw, names)
        row: list[int] = []
        for piece in encoded.pieces:
            if isinstance(piece, str):
                name = new.get(piece)
                row += self.vocabulary.ids([filled(piece, new)] if name is None else subwords(name))
            else:
                row += piece
        return row


class Encoded(NamedTuple):
    """A template as ids, of its first tokens: lists of ids, and lexemes with placeholders in them."""

    template: Template
    pieces: list[list[int] | str]

    @classmethod
    def of(cls, text: str, vocabulary: Vocabulary, length: int) -> Encoded:
        """length: tokens of a sequence; what follows them in the text is left out."""
        template = Template.of(text, vocabulary.language)
        pieces: list[list[int] | str] = []
        for token in tokens(template.text, vocabulary.language, template.places)[:length]:
            if any(place in token for place in template.places):
                pieces.append(token)
            elif pieces and isinstance(pieces[-1], list):
                pieces[-1] += vocabulary.ids([token])
            else:
                pieces.append(vocabulary.ids([token]))
        return cls(template, pieces)


def _draw_of(text: str) -> random.Random:
    return random.Random(hashlib.sha256(text.encode()).digest())


@lru_cache(maxsize=2)
def _names(texts: tuple[str, ...], language: Language) -> list[str]:
    """The local names of functions, one after the other."""
    return [name for text in texts for name in local_names(text, language)]


class _Renamer(ast.NodeTransformer):
    """Gives variables new names, wherever Python's syntax has one."""

    def __init__(self, new: dict[str, str]) -> None:
        self.new = new

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field in ("id", "arg", "name", "rest"):
            old = getattr(node, field, None)
            if isinstance(old, str) and not isinstance(node, ast.keyword | ast.alias):
                setattr(node, field, self.new.get(old, old))
        if isinstance(node, ast.Nonlocal):
            node.names = [self.new.get(name, name) for name in node.names]
        return super().generic_visit(node)
