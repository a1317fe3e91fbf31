"""Report: counts of right answers → accuracies with their intervals, as a table and as JSON.

Knows nothing of models or metrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from vlm_demo.evaluation.hallucination import YesNo
from vlm_demo.evaluation.items import Skipped

Z95 = 1.959963984540054  # the normal distribution's 97.5 % quantile
SHOWN_SKIPPED = 20


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion, as fractions.

    Wilson 1927 (https://doi.org/10.1080/01621459.1927.10502953). Unlike the textbook p ± 1.96·SE it stays inside
    0..1 and is honest at 0 %, at 100 % and for few items. ``n`` must be at least 1.
    """
    p, z2 = right / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # At the ends the formula gives 0 and 1 but for rounding.
    return (0.0 if right == 0 else centre - half), (1.0 if right == n else centre + half)


@dataclass
class Score:
    """A running count: ``right`` of ``n``."""

    n: int = 0
    right: int = 0

    def add(self, right: bool) -> None:
        self.n += 1
        self.right += right

    def as_dict(self) -> dict[str, Any]:
        """n, accuracy, low, high; fractions, or None where nothing was counted."""
        if not self.n:
            return {"n": 0, "accuracy": None, "low": None, "high": None}
        low, high = wilson(self.right, self.n)
        return {"n": self.n, "accuracy": self.right / self.n, "low": low, "high": high}


@dataclass
class Report:
    """What a run found.

    Attributes:
        kinds: a score for each kind of question; pointing is counted apart and never enters ``overall``.
        yes_no: for each kind whose every question is to be answered by yes or no, how often yes was said.
        refused: questions that the model declined with an error (too long for its context); counted as wrong.
        settings: how the run was made, for the reader of the JSON.
    """

    kinds: dict[str, Score] = field(default_factory=dict)
    yes_no: dict[str, YesNo] = field(default_factory=dict)
    pointing: Score = field(default_factory=Score)
    skipped: list[Skipped] = field(default_factory=list)
    refused: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def overall(self) -> Score:
        return Score(sum(score.n for score in self.kinds.values()), sum(score.right for score in self.kinds.values()))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values: overall, kinds, yes_no, pointing, skipped, settings."""
        return {
            "overall": self.overall.as_dict(),
            "kinds": {kind: self.kinds[kind].as_dict() for kind in sorted(self.kinds)},
            "yes_no": {kind: self.yes_no[kind].as_dict() for kind in sorted(self.yes_no)},
            "pointing": self.pointing.as_dict(),
            "skipped": [{"line": s.line, "image": s.image, "reason": s.reason} for s in self.skipped],
            "settings": {**self.settings, "refused": self.refused},
        }

    def table(self) -> str:
        """The report for a person: a line a kind, then the overall, pointing, and what was skipped."""
        rows = [(kind, self.kinds[kind]) for kind in sorted(self.kinds)]
        total = ("overall", self.overall)
        beside = [("pointing", self.pointing)] if self.pointing.n else []
        width = max(len(name) for name, _ in [*rows, total, ("pointing", None)])
        head = f"{'kind':<{width}}  {'n':>6}  {'right':>6}  {'accuracy':>8}  95 % interval"
        rule = "-" * len(head)
        lines = [head, rule, *(_row(name, score, width) + _yes(self.yes_no.get(name)) for name, score in rows)]
        if rows or not beside:
            lines += [rule] * bool(rows) + [_row(*total, width)]
        lines += [_row(name, score, width) for name, score in beside]
        if beside:
            lines.append("pointing: the heatmap's hottest pixel lies on the named thing; not part of the overall")
        if self.refused:
            lines.append(f"refused by the model, counted as wrong: {self.refused}")
        if self.skipped:
            lines.append(f"skipped: {len(self.skipped)}")
            lines += [_skipped_line(one) for one in self.skipped[:SHOWN_SKIPPED]]
            if len(self.skipped) > SHOWN_SKIPPED:
                lines.append(f"  and {len(self.skipped) - SHOWN_SKIPPED} more; --json OUT lists them all")
        return "\n".join(lines)


def _row(name: str, score: Score, width: int) -> str:
    start = f"{name:<{width}}  {score.n:>6}  {score.right:>6}"
    if not score.n:
        return f"{start}  {'-':>8}"
    low, high = wilson(score.right, score.n)
    return f"{start}  {score.right / score.n:>6.1%}    {low:.1%} to {high:.1%}"


def _yes(found: YesNo | None) -> str:
    told = found.as_dict() if found else {}
    if not told or told["f1"] is None:
        return ""
    return f"   F1 {told['f1']:.2f}, yes {told['yes_ratio']:.0%} (true {told['true_yes_ratio']:.0%})"


def _skipped_line(skipped: Skipped) -> str:
    image = f" ({skipped.image})" if skipped.image else ""
    return f"  line {skipped.line}{image}: {skipped.reason}"
