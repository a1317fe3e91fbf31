"""Photo OCR: a folder of photographed charts → what Tesseract reads in each, stored once to be trained on.

``DRAWN/ocr/NAME.jsonl``, a line a picture, as ``mixture`` reads it: ``{"image": "img/00000.jpg", "ocr": [lines]}``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from vlm_demo.errors import VlmDemoError
from vlm_demo.stages import ocr


def harvest(folder: Path, file: Path) -> int:
    """Read the pictures of ``folder/annotations.jsonl`` that ``file`` does not hold yet; each is written at once.

    Returns:
        How many were read now.
    Raises:
        VlmDemoError: there is no such folder.
        OcrUnavailable: Tesseract is missing; says what to do.
    """
    annotations = folder / "annotations.jsonl"
    if not annotations.is_file():
        raise VlmDemoError(f"{folder} holds no annotations.jsonl; give the folder that {folder.name} lies in.")
    lines = annotations.read_text(encoding="utf-8").split("\n")
    images = dict.fromkeys(json.loads(line)["image"] for line in lines if line.strip())
    file.parent.mkdir(parents=True, exist_ok=True)
    done = _resumed(file)
    missing = [image for image in images if image not in done]
    with file.open("a", encoding="utf-8") as handle:
        for image in tqdm(missing, desc=folder.name, mininterval=5):
            with Image.open(folder / image) as opened:
                text = ocr.read(opened.convert("RGB")).text
            ocr_lines = [line.strip() for line in text.split("\n") if line.strip()]
            handle.write(json.dumps({"image": image, "ocr": ocr_lines}) + "\n")
            handle.flush()
    return len(missing)


def _resumed(file: Path) -> set[str]:
    """The pictures that were read already; a last line that was not written to its end is taken away."""
    if not file.exists():
        return set()
    stored = file.read_bytes()
    complete = stored[: stored.rfind(b"\n") + 1]
    if len(complete) < len(stored):
        os.truncate(file, len(complete))
    return {json.loads(line)["image"] for line in complete.decode().split("\n") if line}
