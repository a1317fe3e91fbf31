"""Presets: the one setting that a comparison varies → its columns, or why it is unavailable. For a custom mix see
`Mix`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlm_demo.contracts import DEFAULT_OCR, OcrSettings
from vlm_demo.engines import local, offers
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components import header, model_menu
from vlm_demo.ui.tabs.chat.page_choice import Upload
from vlm_demo.ui.tabs.compare.compare_state import MIX, PICTURES
from vlm_demo.ui.tabs.compare.comparison import MOST, Column

NAMES = {
    "ocr": "OCR",
    "evidence": "Evidence only",
    "precision": "Precision",
    "models": "Model",
    PICTURES: "Picture",
    MIX: "Own mix",
}
NEEDS_OTHERS = ("precision", "models")
ONLY_OPERATOR = (
    "Other models and precisions are loaded for the operator alone, on the machine that runs the model; the rest is "
    "for everyone."
)
NO_OTHER = "There is no other embedded model that writes answers."
NO_SECOND = "Two pictures are compared: add another picture."


@dataclass(frozen=True)
class BaseQuestion:
    """What every column asks, except for what varies.

    Attributes:
        uploads: the pictures that the question is about.
    """

    question: str
    uploads: tuple[Upload, ...]
    ocr: bool = False
    evidence_only: bool = False

    def turn(self) -> ChatTurn:
        """A waiting question."""
        return ChatTurn(
            self.question,
            self.ocr,
            self.evidence_only,
            tuple(upload.content for upload in self.uploads),
            tuple(upload.path for upload in self.uploads),
            tuple(upload.preview for upload in self.uploads),
            pages=tuple(upload.page for upload in self.uploads),
        )


class Presets:
    """What can be varied with one service.

    Args:
        ocr_settings: how text is read.
    """

    def __init__(self, service: ModelRegistry, ocr_settings: OcrSettings = DEFAULT_OCR) -> None:
        self.service, self.ocr_missing = service, local.ocr_missing(ocr_settings)

    def closed(self, operator: bool) -> dict[str, str]:
        """Preset → why it is unavailable; empty where all are available.

        Args:
            operator: whether the client may load other models.
        """
        found = {}
        if self.ocr_missing:
            found["ocr"] = self.ocr_missing
        if not operator:
            return found | dict.fromkeys(NEEDS_OTHERS, ONLY_OPERATOR)
        if reasons := model_menu.unquantizable():
            found["precision"] = f"Packing weights {next(iter(reasons.values()))}."
        if not self._others():
            found["models"] = NO_OTHER
        return found

    def columns(self, preset: str, base: BaseQuestion, more: Sequence[Upload] = ()) -> list[Column]:
        """The columns of a comparison, the reference first.

        Args:
            preset: a key of ``NAMES``, but for ``MIX``.
            more: further pictures, where pictures are compared.
        """
        made = {
            "ocr": self._ocr,
            "evidence": self._evidence,
            "precision": self._precision,
            "models": self._models,
            PICTURES: self._pictures,
        }
        return made[preset](base, more)

    def count(self, preset: str, pictures: int) -> int:
        """How many columns there will be of a preset that is not ``MIX``."""
        counts = {"precision": len(header.PRECISIONS), "models": 1 + len(self._others()), PICTURES: max(2, pictures)}
        return min(counts.get(preset, 2), MOST)

    def _ocr(self, base: BaseQuestion, more: Sequence[Upload]) -> list[Column]:
        return [Column(f"OCR {'on' if on else 'off'}", replace(base, ocr=on).turn()) for on in (False, True)]

    def _evidence(self, base: BaseQuestion, more: Sequence[Upload]) -> list[Column]:
        both = ((False, "Free answer"), (True, "Evidence only"))
        return [Column(label, replace(base, evidence_only=on).turn()) for on, label in both]

    def _precision(self, base: BaseQuestion, more: Sequence[Upload]) -> list[Column]:
        model = self.service.model
        return [Column(label.capitalize(), base.turn(), model, name) for name, label in header.PRECISIONS.items()]

    def _models(self, base: BaseQuestion, more: Sequence[Upload]) -> list[Column]:
        current = Column(short(self.service.model), base.turn(), self.service.model, self.service.quantize)
        others = [Column(short(name), base.turn(), name, "none") for name in self._others()]
        return [current, *others][:MOST]

    def _pictures(self, base: BaseQuestion, more: Sequence[Upload]) -> list[Column]:
        each = enumerate((*base.uploads, *more)[:MOST], 1)
        return [Column(f"Picture {number}", replace(base, uploads=(upload,)).turn()) for number, upload in each]

    def _others(self) -> list[str]:
        return [name for name in offers.embedded() if name != self.service.model]


def short(model: str) -> str:
    """A model's name without the folder or the publisher before it."""
    return model.rstrip("/").rpartition("/")[2] or model
