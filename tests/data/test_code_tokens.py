"""Lexing, sub-words and the vocabulary."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from study.data.code_tokens import NUMBER, PADDING, SPECIAL, STRING, UNKNOWN, Language, Vocabulary, lexemes, tokens


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("python", "x //= y**2  # half", ["x", "//=", "y", "**", "2"]),
        ("python", "s = rb'a\\'b' + \"c # d\"", ["s", "=", "rb'a\\'b'", "+", '"c # d"']),
        ("python", 'd = """two\nlines"""\n\n\nz', ["d", "=", '"""two\nlines"""', "\n", "z"]),
        ("java", "a->b(c) /* no\nmore */ ; // end\n", ["a", "->", "b", "(", "c", ")", ";", "\n"]),
        ("c", "x = 0xFF + 1.5e-3f && !y;", ["x", "=", "0xFF", "+", "1.5e-3f", "&&", "!", "y", ";"]),
        ("c", "char q = '\\'';", ["char", "q", "=", "'\\''", ";"]),
    ],
)
def test_lexemes_keep_all_but_comments_and_blanks(language: Language, text: str, expected: list[str]) -> None:
    assert [lexeme.text for lexeme in lexemes(text, language)] == expected


def test_an_open_quote_loses_no_text() -> None:
    for language in get_args(Language):
        assert [lexeme.text for lexeme in lexemes("it's x", language)][-2:] in (["s", "x"], ["'", "x"], ["s", "x"])


def test_names_are_read_by_their_parts() -> None:
    assert tokens("maxHTTPRetries = VAR_1", "java") == ["max", "_http", "_retries", "=", "var", "_1"]


def test_a_vocabulary_holds_the_most_frequent_tokens_that_repeat() -> None:
    known = Vocabulary([["b", "a", "b", "once"], ["a", "c", "c", "b"]], "python", 6)
    assert known.tokens == [*SPECIAL, "b", "a"]
    assert Vocabulary([["once", "twice", "twice"]], "python", 100).tokens == [*SPECIAL, "twice"]


def test_what_is_not_known_keeps_its_kind() -> None:
    known = Vocabulary([["x", "x"]], "python", 10)
    sequence = tokens("x y 12 'text'", "python")
    ids = known.encoded([sequence, sequence[:1], []], 5)
    assert ids.tolist()[0] == [4, UNKNOWN, NUMBER, STRING, PADDING]
    assert ids.tolist()[1:] == [[4, *[PADDING] * 4], [PADDING] * 5]
    assert torch.equal(known.encoded([sequence], 2), ids[:1, :2])
