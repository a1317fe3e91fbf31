"""Report: counts of right answers → accuracies with their intervals, as a table and as JSON.

Knows nothing of models or metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vlm_demo.evaluation.cider import Captions
from vlm_demo.evaluation.items import Skipped
from vlm_demo.evaluation.yes_no import YesNo
from vlm_demo.intervals import wilson

SHOWN_SKIPPED = 20
PRESENCE = "presence"  # how the kinds of questions begin that ask whether a thing is there


def with_interval(share: float, n: int) -> str:
    """A share of ``n``, 0..1, in percent with its 95 % interval: ``32% [22–44]``."""
    low, high = wilson(round(share * n), n)
    return f"{share:.0%} [{100 * low:.0f}–{100 * high:.0f}]"


def paired(before: Mapping[int, bool], after: Mapping[int, bool]) -> tuple[float, float, float]:
    """How much more often ``after`` is right than ``before`` on the items that both have: the mean of the paired
    differences and its 95 % interval by the normal distribution, −1..1.

    Raises:
        ValueError: they have no item in common.
    """
    shared = before.keys() & after.keys()
    if not shared:
        raise ValueError("no item was asked of both")
    differences = [int(after[item]) - int(before[item]) for item in shared]
    mean = sum(differences) / len(differences)
    half_width = 1.96 * math.sqrt(sum((difference - mean) ** 2 for difference in differences)) / len(differences)
    return mean, mean - half_width, mean + half_width


@dataclass
class Score:
    """A running count: ``right`` of ``n``; a sum of fractions 0..1 where answers are scored by one."""

    n: int = 0
    right: float = 0

    def add(self, right: float) -> None:
        """Count one answer: whether it is right, or the fraction 0..1 that it is worth."""
        self.n += 1
        self.right += right

    def __add__(self, other: Score) -> Score:
        return Score(self.n + other.n, self.right + other.right)

    def as_dict(self) -> dict[str, Any]:
        """n, accuracy, low, high; fractions, or None where nothing was counted."""
        if not self.n:
            return {"n": 0, "accuracy": None, "low": None, "high": None}
        low, high = wilson(self.right, self.n)
        return {"n": self.n, "accuracy": self.right / self.n, "low": low, "high": high}


@dataclass
class InOcrText:
    """Answers of questions that were asked with OCR: how many occur in the text that was read, and are right then."""

    found: Score = field(default_factory=Score)
    right: Score = field(default_factory=Score)

    def add(self, found: bool, right: float) -> None:
        self.found.add(found)
        if found:
            self.right.add(right)

    def __add__(self, other: InOcrText) -> InOcrText:
        return InOcrText(self.found + other.found, self.right + other.right)

    def as_dict(self) -> dict[str, Any]:
        """n; share, low, high: of the answers that occur in the text; of_these: how many of those are right."""
        share = self.found.as_dict()
        return {"n": share.pop("n"), "share": share.pop("accuracy"), **share, "of_these": self.right.as_dict()}


@dataclass
class Report:
    """The results of a run.

    Attributes:
        kinds: a score for each kind of question; pointing and captions are counted apart and never enter ``overall``.
        yes_no: for each kind whose every question is to be answered by yes or no, how often the answer was yes.
        captions: for each kind of question with reference captions, the model's captions.
        in_ocr_text: for each kind, the questions asked with OCR whose answer could be copied (not yes, no or unknown).
        refused: questions that the model declined with an error (too long for its context); counted as wrong.
        settings: how the run was made, for the reader of the JSON.
    """

    kinds: dict[str, Score] = field(default_factory=dict)
    yes_no: dict[str, YesNo] = field(default_factory=dict)
    captions: dict[str, Captions] = field(default_factory=dict)
    in_ocr_text: dict[str, InOcrText] = field(default_factory=dict)
    pointing: Score = field(default_factory=Score)
    skipped: list[Skipped] = field(default_factory=list)
    refused: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def overall(self) -> Score:
        return sum(self.kinds.values(), Score())

    @property
    def presence(self) -> dict[str, YesNo]:
        """The kinds that ask whether a thing is there, by what follows "presence-" in their names."""
        found = {kind: counts for kind, counts in self.yes_no.items() if kind.startswith(PRESENCE)}
        return {kind.removeprefix(PRESENCE).lstrip("-") or PRESENCE: counts for kind, counts in found.items()}

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values: overall, kinds, yes_no, presence, cider, in_ocr_text, pointing, skipped,
        settings; presence, cider and in_ocr_text each with an overall and its kinds."""
        return {
            "overall": self.overall.as_dict(),
            "kinds": {kind: self.kinds[kind].as_dict() for kind in sorted(self.kinds)},
            "yes_no": {kind: self.yes_no[kind].as_dict() for kind in sorted(self.yes_no)},
            "presence": _by_kind(self.presence, YesNo()),
            "cider": _by_kind(self.captions, Captions()),
            "in_ocr_text": _by_kind(self.in_ocr_text, InOcrText()),
            "pointing": self.pointing.as_dict(),
            "skipped": [_skipped(one) for one in self.skipped],
            "settings": {**self.settings, "refused": self.refused},
        }

    def table(self) -> str:
        """The report for a person: a line a kind, then the overall, pointing, and what was skipped."""
        rows = [(kind, self.kinds[kind]) for kind in sorted(self.kinds)]
        total = ("overall", self.overall)
        pointing_rows = [("pointing", self.pointing)] if self.pointing.n else []
        width = max(map(len, ("pointing", *self.kinds, *self.captions)))
        head = f"{'kind':<{width}}  {'n':>6}  {'right':>6}  {'accuracy':>8}  95 % interval"
        rule = "-" * len(head)
        lines = [head, rule, *(_row(name, score, width) + _yes_no_text(self.yes_no.get(name)) for name, score in rows)]
        if rows or not (pointing_rows or self.captions):
            lines += [rule] * bool(rows) + [_row(*total, width)]
        lines += [_row(name, score, width) for name, score in pointing_rows]
        if pointing_rows:
            lines.append("pointing: the heatmap's hottest pixel lies on the named thing; not part of the overall")
        lines += _caption_lines(self.captions, width) + _read_lines(self.in_ocr_text, width)
        if any(isinstance(score.right, float) for score in self.kinds.values()):
            lines.append("right: the sum of the answers' scores, each from 0 to 1; accuracy: their mean")
        if self.refused:
            lines.append(f"refused by the model, counted as wrong: {self.refused}")
        if self.skipped:
            lines.append(f"skipped: {len(self.skipped)}")
            lines += [_skipped_line(line) for line in self.skipped[:SHOWN_SKIPPED]]
            if len(self.skipped) > SHOWN_SKIPPED:
                lines.append(f"  and {len(self.skipped) - SHOWN_SKIPPED} more; --json OUT lists them all")
        return "\n".join(lines)


def _row(name: str, score: Score, width: int) -> str:
    right = f"{score.right:.1f}" if isinstance(score.right, float) else str(score.right)
    start = f"{name:<{width}}  {score.n:>6}  {right:>6}"
    if not score.n:
        return f"{start}  {'-':>8}"
    low, high = wilson(score.right, score.n)
    return f"{start}  {score.right / score.n:>6.1%}    {low:.1%} to {high:.1%}"


def _yes_no_text(found: YesNo | None) -> str:
    counts = found.as_dict() if found else {}
    if not counts or counts["f1"] is None:
        return ""
    return f"   F1 {counts['f1']:.2f}, yes {counts['yes_ratio']:.0%} (true {counts['true_yes_ratio']:.0%})"


def _by_kind(parts: dict[str, Any], none: Any) -> dict[str, Any]:
    kinds = {kind: parts[kind].as_dict() for kind in sorted(parts)}
    return {"overall": sum(parts.values(), none).as_dict(), "kinds": kinds}


def _caption_lines(captions: dict[str, Captions], width: int) -> list[str]:
    if not captions:
        return []
    lines = ["", f"{'captions':<{width}}  {'n':>6}  CIDEr-D  95 % interval"]
    scores = _by_kind(captions, Captions())
    for kind, score in [*scores["kinds"].items(), *[("overall", scores["overall"])] * (len(captions) > 1)]:
        start = f"{kind:<{width}}  {score['n']:>6}  "
        lines.append(start + _interval(score["cider"], score["low"], score["high"]))
    return lines


def _interval(value: float | None, low: float, high: float) -> str:
    return f"{'-':>7}" if value is None else f"{value:>7.1f}  {low:.1f} to {high:.1f}"


def _read_lines(in_ocr_text: dict[str, InOcrText], width: int) -> list[str]:
    if not in_ocr_text:
        return []
    lines = ["", f"{'with OCR':<{width}}  {'n':>6}  {'in text':>7}  right of these"]
    for kind, counts in [
        *sorted(in_ocr_text.items()),
        *[("overall", sum(in_ocr_text.values(), InOcrText()))] * (len(in_ocr_text) > 1),
    ]:
        right = counts.right.as_dict()
        start = f"{kind:<{width}}  {counts.found.n:>6}  {counts.found.right / counts.found.n:>7.1%}  "
        accuracy = f"{right['accuracy']:.1%}  {right['low']:.1%} to {right['high']:.1%}" if right["n"] else "-"
        lines.append(start + accuracy)
    return [*lines, "in text: the answer stands in the text that Tesseract read"]


def _skipped(skipped: Skipped) -> dict[str, Any]:
    return {"place": skipped.place, "line": skipped.line, "image": skipped.image, "reason": skipped.reason}


def _skipped_line(skipped: Skipped) -> str:
    image = f" ({skipped.image})" if skipped.image else ""
    return f"  {skipped.place} {skipped.line}{image}: {skipped.reason}"
