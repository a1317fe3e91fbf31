"""Checklist: the five checks of an answer in their order, and what stands above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlm_demo.checks import hallucination, latency, resolution, small_text
from vlm_demo.checks.latency import Machine
from vlm_demo.contracts.answer import Answer
from vlm_demo.contracts.checks import FAIL, NAMES, OPEN, PASS, WARN, Check

ORDER = (FAIL, WARN, OPEN, PASS)


def first(answer: Answer, placed: Check, machine: Machine, reads_from: float | None = None) -> tuple[Check, ...]:
    """What can be told of an answer without another reading or another answer; the rest of it is open.

    Args:
        placed: the check of its image tokens.
        reads_from: as `small_text.check` takes it.
    """
    read = (*[None] * (len(answer.views) - len(answer.ocrs)), *answer.ocrs)  # those of the history come first
    return (
        placed,
        resolution.check(answer.views),
        hallucination.check(
            bool(answer.conversation and answer.conversation.evidence_only), answer.text, unfinished=answer.unfinished
        ),
        small_text.check(answer.views, read, ocr=bool(answer.ocrs), reads_from=reads_from),
        latency.check(
            answer.timings,
            answer.memory,
            machine,
            image_tokens=answer.prompt.image_tokens,
            answer_tokens=len(answer.tokens),
        ),
    )


def replaced(checks: Sequence[Check], *newer: Check) -> tuple[Check, ...]:
    """The checklist with some checks measured anew; each name once, in the order of ``NAMES``."""
    by_name = {check.name: check for check in (*checks, *newer)}
    return tuple(by_name[name] for name in NAMES if name in by_name)


def worst(checks: Sequence[Check]) -> Check | None:
    """The check that a person should read first; None where all is well or nothing was measured."""
    bad = [check for check in checks if check.verdict in (FAIL, WARN)]
    return min(bad, key=lambda check: ORDER.index(check.verdict)) if bad else None


def headline(checks: Sequence[Check]) -> str:
    """What was found, in one sentence."""
    found = worst(checks)
    if found:
        return found.why
    return "Nothing was found wrong." if any(check.verdict == PASS for check in checks) else "Nothing was measured."


def as_json(checks: Sequence[Check]) -> dict[str, Any]:
    """The checklist for programs: ``headline``, and ``checks``, each with name, verdict, values, measured, why and
    remedy."""
    fields = ("name", "verdict", "values", "measured", "why", "remedy")
    rows = [{name: getattr(check, name) for name in fields} | {"values": dict(check.values)} for check in checks]
    return {"headline": headline(checks), "checks": rows}


def counted(checks: Sequence[Check]) -> str:
    """How many checks have which verdict: "1 fails, 2 warn, 2 pass"."""
    counts = [(verdict, sum(check.verdict == verdict for check in checks)) for verdict in ORDER]
    verbs = {FAIL: ("fails", "fail"), WARN: ("warns", "warn"), OPEN: ("is open", "are open"), PASS: ("passes", "pass")}
    return ", ".join(f"{count} {verbs[verdict][count != 1]}" for verdict, count in counts if count)
