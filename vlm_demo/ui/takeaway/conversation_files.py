"""Conversation files: saved turns → one self-contained HTML file, or JSON. Made in memory, written nowhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vlm_demo.contracts import LEVELS, Check
from vlm_demo.contracts.checks import FAIL, OPEN, PASS, WARN
from vlm_demo.ui import stage_words
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.inspect.panels.html_pieces import lasted
from vlm_demo.ui.takeaway.saved_turn import SavedTurn

FORMAT, VERSION = "vlm_demo conversation", 1
SIGNS = {PASS: "●", WARN: "◐", FAIL: "⊠", OPEN: "◌"}


def as_html(turns: Sequence[SavedTurn]) -> bytes:
    """A page (UTF-8) without scripts, whose content security policy forbids running any or fetching anything. All text
    of a person, a model or OCR is escaped."""
    rows = [
        (
            turn,
            LEVELS.get(turn.grounding.level, turn.grounding.level) if turn.grounding else "",
            [(SIGNS.get(check.verdict, "◌"), check) for check in turn.checks],
            [(stage.name, stage_words.detail(stage), lasted(stage.seconds)) for stage in turn.stages],
        )
        for turn in turns
    ]
    return str(render("takeaway", turns=rows)).encode()


def as_json(turns: Sequence[SavedTurn]) -> bytes:
    """``{"format", "version", "turns"}`` in UTF-8; each turn has the fields of `SavedTurn`, those of its contracts as
    objects; seconds and bytes are plain numbers."""
    document = {"format": FORMAT, "version": VERSION, "turns": [_plain(turn) for turn in turns]}
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def _plain(turn: SavedTurn) -> dict[str, Any]:
    # What a check measured may be any mapping, which asdict can't copy.
    rest = {name: getattr(turn, name) for name in ("pictures", "read", "question", "answer", "state", "problem")}
    rest |= {name: getattr(turn, name) for name in ("ocr", "evidence_only", "model", "precision", "replayed")}
    return {
        **rest,
        "uploads": [asdict(item) for item in turn.uploads],
        "maps": [asdict(item) for item in turn.maps],
        "tokens": [asdict(item) for item in turn.tokens],
        "checks": [_checked(item) for item in turn.checks],
        "grounding": asdict(turn.grounding) if turn.grounding else None,
        "stages": [
            {"name": item.name, "seconds": item.seconds, "detail": stage_words.detail(item)} for item in turn.stages
        ],
        "timings": asdict(turn.timings) if turn.timings else None,
        "memory": asdict(turn.memory) if turn.memory else None,
    }


def _checked(check: Check) -> dict[str, Any]:
    return {**vars(check), "values": dict(check.values)}
