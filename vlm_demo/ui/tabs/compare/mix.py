"""Mix: columns with a model, precision, OCR, evidence-only and picture each → their questions, or why they can't be
asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui.components import header, model_menu
from vlm_demo.ui.components.header import Choice
from vlm_demo.ui.tabs.chat.page_choice import Upload
from vlm_demo.ui.tabs.compare.compare_state import Side
from vlm_demo.ui.tabs.compare.comparison import Column
from vlm_demo.ui.tabs.compare.presets import ONLY_OPERATOR, BaseQuestion, short

ALIKE = "Columns {} and {} ask the same: change one of them, or take it off."


class Mix:
    """The settings that a column may have with one service.

    Args:
        ocr_missing: why no text can be read; None where it can.
    """

    def __init__(self, service: ModelRegistry, ocr_missing: str | None) -> None:
        self.service, self.ocr_missing = service, ocr_missing

    def resolved(self, side: Side) -> Side:
        """The same column with its model and precision named."""
        model = side.model or self.service.model
        default = self.service.quantize if model == self.service.model else "none"
        return replace(side, model=model, quantize=side.quantize or default)

    def in_service(self, side: Side) -> bool:
        """Whether the shared model answers it."""
        resolved = self.resolved(side)
        return (resolved.model, resolved.quantize) == (self.service.model, self.service.quantize)

    def models(self, side: Side, operator: bool) -> dict[str, Choice]:
        """Value → choice of every model for a column; a visitor has the one in service alone, without its folder or hub
        id."""
        current = Choice(f"{short(self.service.model)} · in service")
        if not operator:
            return {"": current}
        device = self.service.status.device
        found = model_menu.choices(self.service.model, self.resolved(side).quantize, device, self.service.served)
        return {**found, self.service.model: current}

    def precisions(self, side: Side, operator: bool) -> dict[str, Choice]:
        """Value → choice of every precision for a column; a visitor has the one in service alone."""
        chosen, closed = self.resolved(side).quantize, model_menu.unquantizable()
        if not operator:
            return {chosen: Choice(header.PRECISIONS[chosen])}
        labels = header.PRECISIONS.items()
        return {name: Choice(label, "" if name == chosen else closed.get(name, "")) for name, label in labels}

    def changed(self, side: Side, event: Any, pictures: int, operator: bool) -> Side:
        """A column after a press on it; what does not exist, or is not allowed, changes nothing.

        Args:
            event: the event's data, by attributes: ``model``, ``quantize``, ``ocr``, ``evidence`` or ``shows``.
            pictures: from how many a column may choose.
        """
        model, quantize, shows = (getattr(event, name, None) for name in ("model", "quantize", "shows"))
        if _open(self.models(side, operator), model):
            side = replace(side, model=model, quantize="")
        if _open(self.precisions(side, operator), quantize):
            side = replace(side, quantize=quantize)
        if isinstance(ocr := getattr(event, "ocr", None), bool):
            side = replace(side, ocr=ocr and not self.ocr_missing)
        if isinstance(evidence := getattr(event, "evidence", None), bool):
            side = replace(side, evidence_only=evidence)
        if isinstance(shows, int) and 0 <= shows < pictures:
            side = replace(side, shows=shows)
        return side

    def refusal(self, sides: Sequence[Side], operator: bool) -> str:
        """Why these columns can't be asked; empty where they can."""
        if not operator and not all(map(self.in_service, sides)):
            return ONLY_OPERATOR
        if self.ocr_missing and any(side.ocr for side in sides):
            return self.ocr_missing
        named = [self.resolved(side) for side in sides]
        for number, side in enumerate(named):
            if (before := named.index(side)) < number:
                return ALIKE.format(before + 1, number + 1)
        return ""

    def columns(self, sides: Sequence[Side], base: BaseQuestion, more: Sequence[Upload]) -> list[Column]:
        """The columns of a comparison, the reference first; each is labelled by what it does not share with all others.

        Args:
            base: the question and its pictures.
            more: further pictures, which ``shows`` counts from 1.
        """
        made = []
        named = [self.resolved(side) for side in sides]
        for side, label in zip(named, labels(named), strict=True):
            uploads = (more[side.shows - 1],) if side.shows else base.uploads
            question = replace(base, uploads=uploads, ocr=side.ocr, evidence_only=side.evidence_only)
            made.append(Column(label, question.turn(), side.model, side.quantize))
        return made


def labels(named: Sequence[Side]) -> list[str]:
    """What each column does not share with all others, in a few words."""
    settings = [
        [short(side.model) for side in named],
        [header.PRECISIONS.get(side.quantize, side.quantize).capitalize() for side in named],
        ["OCR on" if side.ocr else "OCR off" for side in named],
        ["Evidence only" if side.evidence_only else "Free answer" for side in named],
        [f"Picture {side.shows + 1}" for side in named],
    ]
    varied = [values for values in settings if len(set(values)) > 1]
    return [" · ".join(parts) for parts in zip(*varied, strict=True)]


def _open(choices: dict[str, Choice], value: Any) -> bool:
    return isinstance(value, str) and value in choices and not choices[value].closed
