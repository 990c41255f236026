"""The parameters and local variables of a function, found in its text."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator, Sequence

from study.data.code_tokens import Language, Lexeme, lexemes

LOOKS_AT_NAMES = {"locals", "vars", "dir", "eval", "exec", "globals"}
"""Functions of Python to which the name of a variable means something."""
PRIMITIVE = {"boolean", "bool", "byte", "char", "short", "int", "long", "float", "double", "unsigned", "signed"}
PRIMITIVE |= {"size_t", "var", "auto"}
RESERVED = {"abstract", "assert", "break", "case", "catch", "class", "const", "continue", "default", "do", "else"}
RESERVED |= {"enum", "extends", "extern", "final", "finally", "for", "goto", "if", "implements", "import", "inline"}
RESERVED |= {"instanceof", "interface", "native", "new", "package", "private", "protected", "public", "register"}
RESERVED |= {"return", "sizeof", "static", "strictfp", "struct", "super", "switch", "synchronized", "this", "throw"}
RESERVED |= {"throws", "transient", "try", "typedef", "union", "void", "volatile", "while", "true", "false", "null"}
RESERVED |= {"NULL"}
"""Words of Java and C that are no names. Before a declared name may stand, of these, only a primitive type."""
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


def _python_locals(text: str) -> list[str]:
    try:
        tree, table = ast.parse(text), symtable.symtable(text, "<function>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return []
    nodes = list(ast.walk(tree))
    if any(isinstance(node, ast.Name) and node.id in LOOKS_AT_NAMES for node in nodes):
        return []
    inside, outside = set[str](), _names_of_arguments(nodes)
    for scope in _scopes(table):
        for symbol in scope.get_symbols():
            local = scope.get_type() != "module" and scope.get_type() != "class"
            local &= symbol.is_local() or symbol.is_free()
            local &= not (symbol.is_imported() or symbol.is_namespace() or symbol.is_declared_global())
            (inside if local else outside).add(symbol.get_name())
    found = dict.fromkeys(_in_order(nodes))
    return [name for name in found if name in inside - outside - CUSTOMARY and not name.startswith("__")]


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)


def _in_order(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name


def _names_of_arguments(nodes: Sequence[ast.AST]) -> set[str]:
    """By which a function that is defined here is called here: its parameters keep these names."""
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return {
        argument.arg
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in defined | assigned
        for argument in call.keywords
        if argument.arg
    }


def _declared(found: Sequence[Lexeme], language: Language) -> dict[str, None]:
    called = {
        each.text for place, each in enumerate(found[:-1]) if found[place + 1].text == "(" and is_free(found, place)
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


def is_free(found: Sequence[Lexeme], place: int) -> bool:
    """Whether the word at `place` is no member of something."""
    return place == 0 or found[place - 1].text not in {".", "->", "::"}
