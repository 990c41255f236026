"""A small tokenizer for program text: lexing that knows no grammar, sub-words, and a vocabulary of the train split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

PADDING, UNKNOWN, STRING, NUMBER = range(4)
"""Ids: of what fills sequences up, of a word, a text literal and a number that are not in the vocabulary."""
SPECIAL = ("<padding>", "<unknown>", "<string>", "<number>")
FEWEST = 2
"""Occurrences in the train split that a token of the vocabulary has."""

Language = Literal["python", "java", "c"]
COMMENT: dict[Language, str] = {"python": r"\#[^\n]*", "java": r"//[^\n]*|/\*.*?\*/", "c": r"//[^\n]*|/\*.*?\*/"}
LITERAL = r"""(?:\b[A-Za-z]{1,2})?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
NUMERAL = r"\d(?:[\w.]|(?<=[eE])[+-])*"
WORD = r"[^\W\d]\w*(?!\w*[\"'])"
OPERATOR = r"->|\+\+|--|&&|\|\||::|//=?|\*\*=?|<<=?|>>=?|[-+*/%&|^<>=!]=|\S"
LEXEME = {
    language: re.compile(
        f"[^\\S\n]+|{comment}|(?P<word>{WORD})|(?P<literal>{LITERAL})|(?P<numeral>{NUMERAL})|(?P<operator>{OPERATOR})|(?P<line>\n)",
        re.DOTALL,
    )
    for language, comment in COMMENT.items()
}
PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


class Lexeme(NamedTuple):
    """A piece of program text; kind: literal, numeral, word, operator, or line for the end of one."""

    text: str
    kind: str


def lexemes(text: str, language: Language) -> list[Lexeme]:
    """Program text without its comments, blanks and empty lines.

    >>> [lexeme.text for lexeme in lexemes("a.b += 'it''s' # so", "python")]
    ['a', '.', 'b', '+=', "'it'", "'s'"]
    """
    found: list[Lexeme] = []
    for match in LEXEME[language].finditer(text):
        kind = match.lastgroup
        if kind is not None and (kind != "line" or (found and found[-1].kind != "line")):
            found.append(Lexeme(match.group(), kind))
    return found


@lru_cache(maxsize=100_000)
def subwords(name: str) -> tuple[str, ...]:
    """The parts of a name in lower case, each but the first with an underscore before it.

    >>> subwords("maxHTTPRetries_2"), subwords("_")
    (('max', '_http', '_retries', '_2'), ('_',))
    """
    first, *others = [piece.lower() for piece in PIECE.findall(name)] or [name]
    return (first, *(f"_{piece}" for piece in others))


def tokens(text: str, language: Language, whole: Collection[str] = ()) -> list[str]:
    """The tokens of program text: words, but for those in `whole`, by their parts, everything else whole."""
    found: list[str] = []
    for piece, kind in lexemes(text, language):
        if kind == "word" and piece not in whole:
            found += subwords(piece)
        else:
            found.append(piece)
    return found


class Vocabulary:
    """The tokens that a network knows, by their id.

    sequences: of tokens, those of the train split; size: ids at most, the special ones among them; the most frequent
    tokens are taken, of equally frequent ones those first in the alphabet.
    """

    def __init__(self, sequences: Iterable[Sequence[str]], language: Language, size: int) -> None:
        counts = Counter(token for sequence in sequences for token in sequence)
        ranked = sorted(
            (token for token in counts if counts[token] >= FEWEST), key=lambda token: (-counts[token], token)
        )
        self.language: Language = language
        self.tokens = [*SPECIAL, *ranked[: size - len(SPECIAL)]]
        self.places = {token: place for place, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def encoded(self, sequences: Sequence[Sequence[str]], length: int) -> Tensor:
        """Ids [N, length] int64 of N sequences of tokens, as `filled` has them."""
        return self.filled([self.ids(sequence[:length]) for sequence in sequences], length)

    def ids(self, sequence: Iterable[str]) -> list[int]:
        """The id of each token."""
        return [self._id(token) for token in sequence]

    def filled(self, rows: Sequence[Sequence[int]], length: int) -> Tensor:
        """[N, length] int64 of N lists of ids; each is cut at its end, or filled up with `PADDING`."""
        whole = [[*row[:length], *[PADDING] * (length - len(row))] for row in rows]
        return torch.tensor(whole, dtype=torch.int64).view(-1, length)

    def _id(self, token: str) -> int:
        place = self.places.get(token)
        if place is not None:
            return place
        return NUMBER if token[0].isdigit() else STRING if token[-1] in "\"'" else UNKNOWN
