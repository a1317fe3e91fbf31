"""Listing: a Python file of the package → its lines as highlighted pieces of text, and the line on which a function
begins."""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from importlib.resources import files

Line = list[tuple[str, str]]  # (the class of a piece, or empty; its text)

NAMING = ("def", "class")


def text_of(name: str) -> str:
    """The file ``name`` below the package, as it is installed here."""
    return files("vlm_demo").joinpath(*name.split("/")).read_text(encoding="utf-8")


def lines(text: str) -> list[Line]:
    """Every line of a Python file, in pieces of one class: ``comment``, ``string``, ``number``, ``keyword``, ``name``
    (of a definition), or empty."""
    rows = text.splitlines()
    found: list[Line] = [[] for _ in rows]
    at = (1, 0)
    before = ""

    def add(kind: str, start: tuple[int, int], end: tuple[int, int]) -> None:
        for row in range(start[0], min(end[0], len(rows)) + 1):
            first, last = start[1] if row == start[0] else 0, end[1] if row == end[0] else None
            if piece := rows[row - 1][first:last]:
                found[row - 1].append((kind, piece))

    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.start > at:
            add("", at, token.start)
        add(_kind(token, before), token.start, token.end)
        at = max(at, token.end)
        before = token.string
    return found


def _kind(token: tokenize.TokenInfo, before: str) -> str:
    name = tokenize.tok_name[token.type]
    if name == "COMMENT" or name == "NUMBER":
        return name.lower()
    if name == "STRING" or name.startswith("FSTRING"):
        return "string"
    if name == "NAME":
        return "name" if before in NAMING else "keyword" if keyword.iskeyword(token.string) else ""
    return ""


def line_of(text: str, symbol: str) -> int:
    """The line on which a function or class of a file begins, from 1.

    Args:
        symbol: its name, or ``Class.method``.
    Raises:
        LookupError: the file has none of this name.
    """
    body: list[ast.stmt] = ast.parse(text).body
    line = 0
    for part in symbol.split("."):
        named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        definition = next((node for node in body if isinstance(node, named) and node.name == part), None)
        if definition is None:
            raise LookupError(f"There is no {symbol}.")
        line, body = definition.lineno, definition.body
    return line
