"""Evidence only: the effect of the rule that asks for "unknown" on a model's hallucinations, and its cost.

Every question is asked without and with the rule. Questions are a folder's items, or those of POPE in its own files
(Li et al. 2023, https://arxiv.org/abs/2305.10355): a JSON object a line with ``image``, ``text`` and ``label`` (yes or
no), next to a folder of the pictures. As there, whatever is no yes counts as a no; the share of "unknown" is given
as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vlm_demo.checks.grounding_badge import says_unknown
from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation.items import UNKNOWN, Item, Skipped, leaves_folder
from vlm_demo.evaluation.yes_no import NO, YES, YesNo

OFF, ON = "off", "on"
SEPARATOR = ", rule "
ALL = "all"


def read_pope(file: Path) -> tuple[list[Item], list[Skipped]]:
    """The questions of one of POPE's files, and the lines that are none.

    Raises:
        VlmDemoError: the file can't be read, or holds no question.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VlmDemoError(f"{file} can't be read: give one of POPE's files, a JSON object a line.") from error
    items, skipped = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            items.append(_pope_item(number, json.loads(line), f"pope {file.stem}"))
        except (ValueError, RecursionError) as error:
            reason = "the line is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            skipped.append(Skipped(number, None, reason))
    if not items:
        raise VlmDemoError(f"{file} holds no question of POPE: each line needs image, text and label (yes or no).")
    return items, skipped


def _pope_item(number: int, record: Any, kind: str) -> Item:
    if not isinstance(record, dict):
        raise ValueError("the line is not a JSON object")
    image, text, label = (record.get(name) for name in ("image", "text", "label"))
    if not (isinstance(image, str) and isinstance(text, str) and image.strip() and text.strip()):
        raise ValueError("image or text is missing or no text")
    if not isinstance(label, str) or label.strip().lower() not in (YES, NO):
        raise ValueError("label is neither yes nor no")
    if leaves_folder(image):
        raise ValueError("the picture does not lie in the folder")
    return Item(number, image, text, (label.strip().lower(),), kind, "exact")


def twice(items: Iterable[Item]) -> list[Item]:
    """Each question without and with the rule, which its kind names."""
    return [
        replace(item, kind=f"{item.kind}{SEPARATOR}{rule}", evidence_only=rule == ON)
        for item in items
        if item.phrase is None and not item.captions
        for rule in (OFF, ON)
    ]


@dataclass
class Tally:
    """A running count of one kind of question under one rule.

    Attributes:
        yes_no: over those whose right answer is yes or no.
        answerable, right: questions that can be answered, and how many were answered right.
        unanswerable, abstained: questions whose right answer is "unknown", and how many got it.
        unknown: answerable ones that got an "unknown".
    """

    yes_no: YesNo = field(default_factory=YesNo)
    answerable: int = 0
    right: int = 0
    unanswerable: int = 0
    abstained: int = 0
    unknown: int = 0

    def add(self, expected: Sequence[str], prediction: str, right: bool) -> None:
        """Count one answer."""
        unknown = says_unknown(prediction)
        if tuple(expected) == (UNKNOWN,):
            self.unanswerable += 1
            self.abstained += unknown
            return
        self.answerable += 1
        self.right += right
        self.unknown += unknown
        if YesNo.fits(expected):
            self.yes_no.add(expected, prediction)

    def __add__(self, other: Tally) -> Tally:
        counts = ("answerable", "right", "unanswerable", "abstained", "unknown")
        return Tally(self.yes_no + other.yes_no, *(getattr(self, name) + getattr(other, name) for name in counts))

    def as_dict(self) -> dict[str, Any]:
        """yes_no as `YesNo.as_dict`; answerable: n, accuracy, unknown; unanswerable: n, unknown; fractions 0..1, None
        where nothing was asked."""
        return {
            "yes_no": self.yes_no.as_dict(),
            "answerable": {
                "n": self.answerable,
                "accuracy": _share(self.right, self.answerable),
                "unknown": _share(self.unknown, self.answerable),
            },
            "unanswerable": {"n": self.unanswerable, "unknown": _share(self.abstained, self.unanswerable)},
        }


@dataclass
class RuleFigures:
    """The effect of the rule: a tally for each kind of question, without and with it."""

    kinds: dict[str, dict[str, Tally]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def overall(self) -> dict[str, Tally]:
        """All kinds together."""
        return {rule: sum((by_rule[rule] for by_rule in self.kinds.values()), Tally()) for rule in (OFF, ON)}

    @property
    def cost(self) -> float | None:
        """The fraction of the answerable questions, 0..1, that are right without the rule and no longer with it, less
        those that it puts right; None if none was asked."""
        off, on = (self.overall[rule] for rule in (OFF, ON))
        if not off.answerable or not on.answerable:
            return None
        return off.right / off.answerable - on.right / on.answerable

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON-ready values."""
        by_kind = {
            kind: {rule: by_rule[rule].as_dict() for rule in (OFF, ON)} for kind, by_rule in sorted(self.kinds.items())
        }
        return {
            "overall": {rule: tally.as_dict() for rule, tally in self.overall.items()},
            "kinds": by_kind,
            "answerable_lost_by_rule": self.cost,
            "skipped": [{"line": one.line, "image": one.image, "reason": one.reason} for one in self.skipped],
            "settings": self.settings,
        }

    def table(self) -> str:
        """For a person: two lines a kind, without and with the rule."""
        rows = [(kind, rule, by_rule[rule]) for kind, by_rule in sorted(self.kinds.items()) for rule in (OFF, ON)]
        if len(self.kinds) > 1:
            rows += [(ALL, rule, tally) for rule, tally in self.overall.items()]
        width = max(map(len, ("kind", ALL, *self.kinds)))
        head = f"{'kind':<{width}}  rule       n  accuracy  precision  recall    F1  yes (true)  unknown"
        lines = [head, "-" * len(head), *(_row(kind, rule, tally, width) for kind, rule, tally in rows)]
        off, on = (self.overall[rule] for rule in (OFF, ON))
        if off.unanswerable:
            shares = (_percent(tally.abstained, tally.unanswerable) for tally in (off, on))
            lines.append("of what can't be known, unknown is said of {} without and {} with the rule".format(*shares))
        if self.cost is not None:
            lines.append(f"the rule costs {100 * self.cost:.1f} points of the answerable questions")
        if self.skipped:
            lines.append(f"skipped: {len(self.skipped)}; --json OUT lists them")
        return "\n".join(lines)


def figures(answers: Iterable[str], skipped: Sequence[Skipped] = ()) -> RuleFigures:
    """Count the lines that `run.evaluate` wrote about the items of `twice`; a question that the model refused is
    counted as wrong."""
    found = RuleFigures(skipped=list(skipped))
    for line in answers:
        record = json.loads(line)
        if "skipped" in record:
            continue
        kind, _, rule = record["kind"].rpartition(SEPARATOR)
        by_rule = found.kinds.setdefault(kind, {OFF: Tally(), ON: Tally()})
        by_rule[rule].add(record["expected"], record.get("prediction", ""), bool(record.get("right")))
    return found


def _row(kind: str, rule: str, tally: Tally, width: int) -> str:
    yes_no, n = tally.yes_no.as_dict(), tally.answerable + tally.unanswerable
    accuracy = yes_no["accuracy"] if yes_no["n"] == n else _share(tally.right + tally.abstained, n)
    ratio = "-"
    if yes_no["n"]:
        ratio = f"{yes_no['yes_ratio']:.0%} ({yes_no['true_yes_ratio']:.0%})"
    figures = (
        f"{'-' if yes_no[name] is None else format(yes_no[name], '.1%'):>{column_width}}"
        for name, column_width in COLUMNS
    )
    columns = "  ".join((f"{'-' if accuracy is None else format(accuracy, '.1%'):>8}", *figures, f"{ratio:>10}"))
    return f"{kind:<{width}}  {rule:<4}  {n:>6}  {columns}  {_percent(tally.unknown + tally.abstained, n):>7}"


COLUMNS = (("precision", 9), ("recall", 6), ("f1", 6))


def _share(count: int, n: int) -> float | None:
    return count / n if n else None


def _percent(count: int, n: int) -> str:
    return f"{count / n:.1%}" if n else "-"
