"""Abstention: what the evidence-only rule does: how often the answer is "unknown" where nothing can be known, and what
the rule costs where something can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vlm_demo.evaluation.items import UNKNOWN, Item
from vlm_demo.evaluation.report import Report

SORTS = ("answerable", "unanswerable")
OFF, ON = "rule off", "rule on"


def twice(items: Sequence[Item]) -> list[Item]:
    """Each question without and with the rule; its kind names whether it can be answered, and the rule."""
    variants = []
    for item in items:
        if item.phrase is None and not item.captions:
            sort = SORTS[item.answers == (UNKNOWN,)]
            variants += [
                replace(item, kind=f"{sort}, {rule}", evidence_only=evidence_only)
                for rule, evidence_only in ((OFF, False), (ON, True))
            ]
    return variants


def lost(report: Report) -> float | None:
    """The share of the answerable questions, 0..1, that are right without the rule and no longer with it, less those
    that it puts right; None if none was asked."""
    off, on = (report.kinds.get(f"{SORTS[0]}, {rule}") for rule in (OFF, ON))
    return off.right / off.n - on.right / on.n if off and on and off.n and on.n else None
