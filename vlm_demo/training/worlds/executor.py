"""Executor: a small program over a table of things → a value, or why there is none.

A question is a chain of functions, as in CLEVR (Johnson et al. 2017, https://arxiv.org/abs/1612.06890, section 3.2):
filter the rows, count them, ask whether there are any, query what one is like, compare two, relate one to the others.
Knows rows and their attributes; not what is drawn, nor how anything is put into words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
Step = tuple[Any, ...]  # the function's name and its arguments
Program = tuple[Step, ...]

QUANTITIES: dict[str, Callable[[float, float], bool]] = {
    "exactly": lambda n, k: n == k,
    "at least": lambda n, k: n >= k,
    "at most": lambda n, k: n <= k,
    "more than": lambda n, k: n > k,
    "less than": lambda n, k: n < k,
    "fewer than": lambda n, k: n < k,
}


class Absent(Exception):
    """Nothing that the question mentions is there: it can't be answered."""


class Unclear(Exception):
    """Several answers are right, or a difference is too small to be seen: it should not be asked."""


@dataclass(frozen=True)
class Table:
    """Things as rows of attributes.

    Attributes:
        rows: an attribute that a row lacks, or that is None, is not known of it.
        margins: of a numeric attribute the least visible difference; 0 where it is not named.
    """

    rows: Sequence[Row]
    margins: Mapping[str, float] = field(default_factory=dict)

    def fits(self, i: int, target: Row) -> bool:
        """Whether row i has all of these values."""
        return all(self.rows[i].get(attribute) == value for attribute, value in target.items())

    def matching(self, target: Row) -> list[int]:
        """The rows that have all of these values."""
        return [i for i in range(len(self.rows)) if self.fits(i, target)]


@dataclass(frozen=True)
class ProgramResult:
    """The result of a program: the value, and the rows that it is about."""

    value: Any
    about: tuple[int, ...]


def execute(table: Table, program: Program) -> ProgramResult:
    """Run the functions one after the other, the first on all rows.

    Functions from rows to rows: ``filter description``, ``most attribute``, ``least attribute``, ``unique``, ``beyond
    attribute sign program`` (those on that side of the row that the program finds). From rows to a value: ``count``,
    ``exist``, ``query attribute``, ``distinct attribute`` (in the rows' order), ``common attribute`` (the most frequent
    value). From a value to yes or no: ``is value``, ``amounts quantity number``, ``exceeds program``, ``equals
    program``; from one row: ``more attribute sign program``. ``program`` is another program, ``sign`` 1 or -1.

    Raises:
        Absent: what the question presupposes is not there.
        Unclear: the table does not decide it.
    """
    state: Any = list(range(len(table.rows)))
    about: tuple[int, ...] = tuple(state)
    for name, *arguments in program:
        state = _FUNCTIONS[name](table, state, *arguments)
        if isinstance(state, list) and name != "distinct":
            about = tuple(state)
        if arguments and isinstance(arguments[-1], tuple) and not isinstance(state, list):
            about = (*about, *execute(table, arguments[-1]).about)
    return ProgramResult(state, about)


def _filter(table: Table, rows: list[int], target: Row) -> list[int]:
    return [i for i in rows if table.fits(i, target)]


def _unique(table: Table, rows: list[int]) -> list[int]:
    if not rows:
        raise Absent
    if len(rows) > 1:
        raise Unclear
    return rows


def _one(table: Table, program: Program) -> int:
    return int(_unique(table, list(execute(table, program).value))[0])


def _number(table: Table, i: int, attribute: str) -> float:
    value = table.rows[i].get(attribute)
    if value is None:
        raise Unclear
    return float(value)


def _gap(table: Table, attribute: str, i: int, j: int) -> float:
    """By how much row i exceeds row j, if that can be seen."""
    gap = _number(table, i, attribute) - _number(table, j, attribute)
    if abs(gap) <= table.margins.get(attribute, 0):
        raise Unclear
    return gap


def _extreme(sign: int) -> Callable[[Table, list[int], str], list[int]]:
    def extreme(table: Table, rows: list[int], attribute: str) -> list[int]:
        if not rows:
            raise Absent
        order = sorted(rows, key=lambda i: -sign * _number(table, i, attribute))
        if len(order) < 2:
            raise Unclear
        _gap(table, attribute, order[0], order[1])
        return order[:1]

    return extreme


def _beyond(table: Table, rows: list[int], attribute: str, sign: int, program: Program) -> list[int]:
    one = _one(table, program)
    return [i for i in rows if i != one and _gap(table, attribute, i, one) * sign > 0]


def _query(table: Table, rows: list[int], attribute: str) -> Any:
    """What all of these rows have; a single value or none."""
    if not rows:
        raise Absent
    values = {table.rows[i].get(attribute) for i in rows}
    if len(values) > 1 or None in values:
        raise Unclear
    return values.pop()


def _distinct(table: Table, rows: list[int], attribute: str) -> list[Any]:
    return list(dict.fromkeys(table.rows[i].get(attribute) for i in rows))


def _common(table: Table, rows: list[int], attribute: str) -> Any:
    ranked = Counter(table.rows[i].get(attribute) for i in rows).most_common(2)
    if len(ranked) < 2 or ranked[0][1] == ranked[1][1]:
        raise Unclear
    return ranked[0][0]


def _more(table: Table, rows: list[int], attribute: str, sign: int, program: Program) -> bool:
    (one,) = _unique(table, rows)
    other = _one(table, program)
    if one == other:
        raise Unclear
    return _gap(table, attribute, one, other) * sign > 0


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "filter": _filter,
    "unique": _unique,
    "most": _extreme(1),
    "least": _extreme(-1),
    "beyond": _beyond,
    "count": lambda table, state: len(state),
    "exist": lambda table, rows: bool(rows),
    "query": _query,
    "distinct": _distinct,
    "common": _common,
    "is": lambda table, value, wanted: value == wanted,
    "amounts": lambda table, n, quantity, k: QUANTITIES[quantity](n, k),
    "exceeds": lambda table, value, program: value > execute(table, program).value,
    "equals": lambda table, value, program: value == execute(table, program).value,
    "more": _more,
}
