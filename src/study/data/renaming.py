"""Functions whose parameters and local variables have other names: the same program to a computer, and to a person."""

from __future__ import annotations

import ast
import builtins
import hashlib
import keyword
import random
import symtable
from collections.abc import Iterator, Sequence
from functools import cached_property

from torch import Tensor

from study.data.code_tokens import Language, Lexeme, Vocabulary, lexemes, tokens

LOOKS_AT_NAMES = {"locals", "vars", "dir", "eval", "exec", "globals"}
"""Functions of Python to which the name of a variable means something."""
PRIMITIVE = {"boolean", "bool", "byte", "char", "short", "int", "long", "float", "double", "unsigned", "signed"}
PRIMITIVE |= {"size_t", "var", "auto"}
RESERVED = {
    "abstract",
    "assert",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "default",
    "do",
    "else",
    "enum",
}
RESERVED |= {
    "extends",
    "extern",
    "final",
    "finally",
    "for",
    "goto",
    "if",
    "implements",
    "import",
    "inline",
    "instanceof",
}
RESERVED |= {"interface", "native", "new", "package", "private", "protected", "public", "register", "return", "sizeof"}
RESERVED |= {"static", "strictfp", "struct", "super", "switch", "synchronized", "this", "throw", "throws", "transient"}
RESERVED |= {"try", "typedef", "union", "void", "volatile", "while", "true", "false", "null", "NULL"}
"""Words of Java and C that are no names. Of these only the primitive types stand before a name that is declared."""
PYTHON = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
DRAWS = 20
"""For each local name; where they bring too few new names, the others are v0, v1 and so on."""
CUSTOMARY = {"self", "cls"}
"""Parameters of Python that have one name by custom."""
ENDS = {"=", ";", ",", ")", ":", "["}
"""What may follow the name in a declaration."""


def local_names(text: str, language: Language) -> list[str]:
    """The parameters and local variables of a function, in the order of their first occurrence.

    Python's are those that its own symbol table knows as such in every scope where they occur; there are none in a
    text that is no Python, or that asks for the names of its variables (`locals()`, `eval`). In Java and C a name is
    taken for local where the text declares it (a type, then the name) and never calls it; scopes are not told apart.
    """
    return _python_locals(text) if language == "python" else list(_declared(lexemes(text, language), language))


def renamed(text: str, language: Language, names: Sequence[str]) -> str:
    """The function with other names for its parameters and local variables, the same new name for each occurrence.

    They are drawn from `names` as often as these occur there, without any that occurs in the text, by a hash of the
    text: the same on every machine and under every seed. Attributes, and the names of arguments in calls, stay; a text
    without local names stays as it is, and of the others Python is written anew by `ast.unparse`.
    """
    local = local_names(text, language)
    if not local:
        return text
    taken = {lexeme.text for lexeme in lexemes(text, language)} | (
        PYTHON if language == "python" else RESERVED | PRIMITIVE
    )
    draw = random.Random(hashlib.sha256(text.encode()).digest())
    drawn = [draw.choice(names) for _ in range(DRAWS * len(local))] if names else []
    spare = [f"v{number}" for number in range(len(taken) + len(local))]
    fresh = (name for name in dict.fromkeys([*drawn, *spare]) if name not in taken)
    new = dict(zip(local, fresh, strict=False))
    if language == "python":
        return ast.unparse(_Renamer(new).visit(ast.parse(text)))
    found = lexemes(text, language)
    return " ".join(
        new[each.text] if each.text in new and _free(found, place) else each.text for place, each in enumerate(found)
    )


class Renamed:
    """The inputs of functions with other names, [N, length] int64, renamed when they are asked for.

    vocabulary: of the train split; others: functions whose local names the new ones are drawn from.
    """

    def __init__(self, texts: Sequence[str], vocabulary: Vocabulary, length: int, others: Sequence[str]) -> None:
        self.texts, self.vocabulary, self.length, self.others = texts, vocabulary, length, others

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, indices: Tensor) -> Tensor:
        language, names = self.vocabulary.language, self._names
        texts = [renamed(self.texts[place], language, names) for place in indices.tolist()]
        return self.vocabulary.encoded([tokens(text, language) for text in texts], self.length).to(indices.device)

    @cached_property
    def _names(self) -> list[str]:
        """The local names of the other functions, one after the other."""
        return [name for text in self.others for name in local_names(text, self.vocabulary.language)]


def _python_locals(text: str) -> list[str]:
    try:
        tree, table = ast.parse(text), symtable.symtable(text, "<function>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return []
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    if LOOKS_AT_NAMES & set(names):
        return []
    inside, outside = set[str](), _names_of_arguments(tree)
    for scope in _scopes(table):
        for symbol in scope.get_symbols():
            local = scope.get_type() != "module" and scope.get_type() != "class"
            local &= symbol.is_local() or symbol.is_free()
            local &= not (symbol.is_imported() or symbol.is_namespace() or symbol.is_declared_global())
            (inside if local else outside).add(symbol.get_name())
    found = dict.fromkeys(_in_order(tree))
    return [name for name in found if name in inside - outside - CUSTOMARY and not name.startswith("__")]


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)


def _in_order(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name


def _names_of_arguments(tree: ast.AST) -> set[str]:
    """By which a function that is defined here is called here: its parameters keep these names."""
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assigned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return {
        argument.arg
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in defined | assigned
        for argument in call.keywords
        if argument.arg
    }


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


def _declared(found: Sequence[Lexeme], language: Language) -> dict[str, None]:
    called = {
        each.text for place, each in enumerate(found[:-1]) if found[place + 1].text == "(" and _free(found, place)
    }
    names: dict[str, None] = {}
    for place, each in enumerate(found[:-1]):
        if each.kind != "word" or found[place + 1].text not in ENDS or each.text in RESERVED | PRIMITIVE | called:
            continue
        if _after_a_type(found, place, language):
            names[each.text] = None
    return names


def _after_a_type(found: Sequence[Lexeme], place: int, language: Language) -> bool:
    """Whether a type stands before the word at `place`."""
    before = place - 1
    if language == "c":
        while before > 0 and found[before].text == "*":
            before -= 1
        if (
            before < place - 1
            and before > 0
            and found[before - 1].text not in {";", "{", "}", "(", ",", "const", "struct"}
        ):
            return False  # a product
    while before > 0 and found[before].text == "]" and found[before - 1].text == "[":
        before -= 2
    if before > 0 and found[before].text in {">", ">>", ">>>"}:
        before = _before_generic(found, before)
    return before >= 0 and found[before].kind == "word" and found[before].text not in RESERVED


def _before_generic(found: Sequence[Lexeme], place: int) -> int:
    """Where the type stands whose arguments end at `place`, -1 where they are none."""
    depth = 0
    while place >= 0:
        text = found[place].text
        depth += {">": 1, ">>": 2, ">>>": 3, "<": -1}.get(text, 0)
        if depth == 0:
            return place - 1
        if found[place].kind != "word" and text not in {">", ">>", ">>>", "<", ",", ".", "?", "[", "]", "&"}:
            return -1
        place -= 1
    return -1


def _free(found: Sequence[Lexeme], place: int) -> bool:
    """Whether the word at `place` is no member of something."""
    return place == 0 or found[place - 1].text not in {".", "->", "::"}
