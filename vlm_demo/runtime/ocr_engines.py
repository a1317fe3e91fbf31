"""OCR engines: which there are, by the names that settings call them."""

from __future__ import annotations

from collections.abc import Callable

from vlm_demo.contracts.ocr import OcrEngine
from vlm_demo.errors import BadSetting
from vlm_demo.runtime.rapidocr_engine import RapidOcrEngine
from vlm_demo.runtime.tesseract_engine import TesseractEngine

ENGINES: dict[str, Callable[[], OcrEngine]] = {"tesseract": TesseractEngine, "rapidocr": RapidOcrEngine}


def engine_for(name: str) -> OcrEngine:
    """The engine of this name.

    Raises:
        BadSetting: there is none; lists those that there are.
    """
    if name not in ENGINES:
        raise BadSetting(f"There is no OCR engine of this name: choose {' or '.join(ENGINES)}.")
    return ENGINES[name]()
