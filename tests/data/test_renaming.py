"""Other names for parameters and local variables: a function does what it did."""

from __future__ import annotations

import dis
import json
import os
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import torch

from study.data.code_tokens import Language, Vocabulary, lexemes, tokens
from study.data.local_names import local_names
from study.data.renaming import Renamed, renamed

REAL = Path(os.environ.get("STUDY_DATA", "")) / "code" / "swapped_operands.jsonl"
NAMES = ["left", "right", "tree", "leaf", "stone", "river", "cloud", "wind"]

CLOSURE = """
def f(items, scale=2, *rest, key=None, **others):
    total = 0
    def add(item, scale=scale):
        nonlocal total
        total += item * scale
        return total
    for number, item in enumerate(items):
        try:
            add(item)
        except TypeError as problem:
            return str(problem), f'{item} {number}'
    return [item + len(rest) for item in items if item], (lambda item: item + total)(1), sorted(items, key=key), others
"""
MATCH = """
def f(value, factor):
    match value:
        case {'x': x, **rest}:
            return x * factor, rest
        case [first, *others] if (size := len(others)):
            return first, others, size
        case _ as whole:
            return whole
"""


@pytest.mark.parametrize(
    ("text", "calls", "expected"),
    [
        (
            CLOSURE,
            [([1, 2, 3],), ([3, "a"],), ([2],)],
            {"items", "scale", "rest", "key", "others", "total", "item", "number", "problem"},
        ),
        (
            MATCH,
            [({"x": 2, "y": 1}, 3), ([1, 2, 3], 0), (7, 0)],
            {"value", "factor", "x", "rest", "first", "others", "size", "whole"},
        ),
    ],
)
def test_a_python_function_computes_the_same(text: str, calls: list[tuple[Any, ...]], expected: set[str]) -> None:
    assert set(local_names(text, "python")) == expected
    other = renamed(text, "python", NAMES * 3)
    words = {lexeme.text for lexeme in lexemes(other, "python") if lexeme.kind == "word"}
    assert not words & (expected - {"key"}), "the name of an argument in a call stays, of a variable it does not"
    results = []
    for source in (text, other):
        space: dict[str, Any] = {}
        exec(source, space)
        results.append([space["f"](*call) for call in calls])
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(self, a):\n    return self.a + a + b", ["a"]),
        ("def f(a):\n    global b\n    b = a", ["a"]),
        ("def f(a):\n    import os\n    return os.path.join(a)", ["a"]),
        ("def f(a):\n    b = 1\n    return locals()", []),
        ("def f(a):\n    class C:\n        a = 1\n        b = a\n    return C", []),
        ("def f(a):\n    def g():\n        return b\n    b = a\n    return g", ["a", "b"]),
        ("def f(n, a):\n    return f(n=n - 1, a=a) + g(a=a)", []),
        ("def f(x):\n    def g(y):\n        return x + z\n    z = g(1)\n    return z", ["x", "z", "y"]),
        ("def f(:", []),
    ],
)
def test_only_local_names_of_python_change(text: str, expected: list[str]) -> None:
    assert sorted(local_names(text, "python")) == sorted(expected)
    assert (renamed(text, "python", NAMES) == text) == (not expected)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("java", "int f ( int a , List < String > b ) { this . a = a ; return b . a ( a ) ; }", ["a", "b"]),
        ("java", "void f ( ) { for ( T x : xs ) { Map < K , List < V > > m = g ( x ) ; } }", ["x", "m"]),
        ("java", "void f ( int i ) { if ( i < n && j > k ) return k ; throw e ; }", ["i"]),
        ("java", "int f ( int [ ] a ) { Object o = new Object ( ) ; return a . length ; }", ["a", "o"]),
        (
            "c",
            "int f(const char *from, struct s *p)\n{ int n = a * b; char to[8]; p->n = n; return h * n; }",
            ["from", "p", "n", "to"],
        ),
        ("c", "int f(int (*cb)(int), int x) { call_t g = cb; return g(x); }", ["x"]),
    ],
)
def test_declared_names_of_java_and_c_change(language: Language, text: str, expected: list[str]) -> None:
    assert local_names(text, language) == expected
    before = [lexeme.text for lexeme in lexemes(text, language)]
    after = [lexeme.text for lexeme in lexemes(renamed(text, language, NAMES), language)]
    assert len(before) == len(after)
    pairs = {(old, new) for old, new in zip(before, after, strict=True) if old != new}
    assert {old for old, _ in pairs} == set(expected) and len(pairs) == len({new for _, new in pairs}) == len(expected)
    members = [place for place, word in enumerate(before) if word in (".", "->")]
    assert [before[place + 1] for place in members] == [after[place + 1] for place in members]


def test_new_names_are_of_the_pool_and_new_and_always_the_same() -> None:
    text = "def f(left, other):\n    return left + other * tree"
    once = renamed(text, "python", NAMES)
    assert once == renamed(text, "python", NAMES)
    found = local_names(once, "python")
    assert len(set(found)) == 2 and set(found) <= set(NAMES) - {"left", "tree"}
    assert set(local_names(renamed(text, "python", ["left"]), "python")) == {"v0", "v1"}, "where the pool has too few"
    assert set(local_names(renamed(text, "python", []), "python")) == {"v0", "v1"}
    often = [renamed(f"def f(x):\n    return x + {n}", "python", ["rare", *["usual"] * 9]) for n in range(40)]
    assert sum("usual" in each for each in often) > 30


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("python", "def f(a):\n    return a", ["len", "match", "while"]),
        ("java", "int f ( int a ) { return a ; }", ["boolean", "while"]),
        ("c", "int f(int a) { return a; }", ["size_t", "while"]),
    ],
)
def test_new_names_are_no_words_of_the_language(language: Language, text: str, words: list[str]) -> None:
    assert local_names(renamed(text, language, words), language) == ["v0"]


def test_renamed_inputs_are_encoded_like_the_others() -> None:
    texts = ["def f(a):\n    return a", "def g():\n    return 1"]
    known = Vocabulary([tokens(text, "python") for text in [*texts, *texts]], "python", 50)
    inputs = Renamed(texts, known, 9, ["def f(b):\n    return b"])
    found, plain = inputs(torch.tensor([1, 0]), None), known.encoded([tokens(text, "python") for text in texts], 9)
    assert torch.equal(found[0], plain[1])
    assert (found[1] != plain[0]).sum() == 2


@pytest.mark.parametrize("length", [200, 40, 5])
def test_inputs_are_those_of_the_renamed_text(length: int) -> None:
    texts = [CLOSURE, MATCH, "def f():\n    return 1"]
    new = [tokens(renamed(text, "python", NAMES), "python") for text in texts]
    known = Vocabulary([*new, *new], "python", 500)
    others = [f"def f({name}): pass" for name in NAMES]
    found = Renamed(texts, known, length, others)(torch.arange(3), None)
    assert torch.equal(found, known.encoded(new, length))


def test_names_are_drawn_anew_with_a_generator() -> None:
    text = "def f(first, second):\n    return first - second"
    known = Vocabulary([tokens(" ".join([text, *NAMES]), "python")] * 2, "python", 500)
    inputs = Renamed([text], known, 30, [f"def f({name}): pass" for name in NAMES])
    generator, again = (torch.Generator().manual_seed(3) for _ in range(2))
    drawn = inputs(torch.zeros(20, dtype=torch.int64), generator)
    assert torch.equal(drawn, inputs(torch.zeros(20, dtype=torch.int64), again))
    ids = set(known.ids(NAMES))
    places = [known.encoded([tokens(text, "python")], 30)[0].eq(known.ids([name])[0]) for name in ("first", "second")]
    first, second = (drawn[:, place] for place in places)
    assert first.shape == second.shape == (20, 2)
    for name, other in ((first, second), (second, first)):
        assert (name[:, 0] == name[:, 1]).all() and (name[:, 0] != other[:, 0]).all(), "one name for one variable"
        assert set(name[:, 0].tolist()) <= ids and len(set(name[:, 0].tolist())) > 4
    kept = ~(places[0] | places[1])
    assert (drawn[:, kept] == known.encoded([tokens(text, "python")], 30)[0, kept]).all()


def alike(before: Any, after: Any) -> bool:
    """Whether two compiled functions are the same but for the names of variables."""
    if not isinstance(before, CodeType):
        return type(before) is type(after) and (isinstance(before, tuple | frozenset) or before == after)
    steps = [[step.opname for step in dis.get_instructions(each)] for each in (before, after)]
    constants = zip(before.co_consts, after.co_consts, strict=True)
    return steps[0] == steps[1] and before.co_names == after.co_names and all(alike(*pair) for pair in constants)


def test_real_functions_compile_to_the_same_steps() -> None:
    if not REAL.is_file():
        pytest.skip("STUDY_DATA does not hold them")
    lines = [json.loads(line) for line in REAL.read_text().splitlines()[:150]]
    texts = [line["code"] for line in lines if "->" not in line["code"] and "await" not in line["code"]]
    others = [renamed(text, "python", NAMES * 4) for text in texts]
    pairs = zip(texts, others, strict=True)
    assert all(alike(*(compile(text, "", "exec") for text in pair)) for pair in pairs)
    assert sum(text != other for text, other in zip(texts, others, strict=True)) > 0.9 * len(texts)
