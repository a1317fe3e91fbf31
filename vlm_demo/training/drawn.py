"""Drawn shards: pictures of the drawn world with captions, questions and OCR lines, stored once to be trained on.

A folder a kind, ``img/`` and ``annotations.jsonl``, a line a picture, each written as soon as it is drawn, so that a
reader can use the part that is there. Knows nothing of the model that is trained.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from vlm_demo.stages import ocr
from vlm_demo.training.drawn_questions import questions_about, similarity
from vlm_demo.training.ocr_noise import imitate_ocr
from vlm_demo.training.worlds.charts import draw_chart
from vlm_demo.training.worlds.documents import draw_document
from vlm_demo.training.worlds.lettering import draw_lettering
from vlm_demo.training.worlds.scenes import draw_scene
from vlm_demo.training.worlds.screens import draw_screen
from vlm_demo.training.worlds.sentences import sentence
from vlm_demo.training.worlds.world import DrawnPicture

ANNOTATIONS = "annotations.jsonl"
LONGEST_SIDE, LOSSLESS_SIDE, QUALITY = 640, 400, 90  # pixels, pixels, of JPEG
BY_TESSERACT = 0.25  # of the pictures with OCR lines; the others are read by its imitation
BOXED = ("scenes", "plain")  # kinds whose things are boxed
WELL_READ = 0.8  # the least share of a short text that OCR has to read, or another is drawn
# How scenes are laid out: in boxes, on noisy black, in nine cells, few large shapes, anywhere, in rows, in towers.
LAYOUTS = {
    "boxes": 0.2,
    "dark": 0.22,
    "cells": 0.1,
    "large": 0.2,
    "free": 0.2,
    "rows": 0.05,
    "towers": 0.03,
}


@dataclass(frozen=True)
class Kind:
    """One folder of pictures.

    Attributes:
        draw: ``draw(rng)`` → a picture.
        pictures: how many are drawn by default.
        questions: how many a picture.
        reads: the share that comes with OCR lines.
    """

    draw: Callable[[np.random.Generator], DrawnPicture]
    pictures: int
    questions: int
    reads: float = 0.0


def _scene(rng: np.random.Generator) -> DrawnPicture:
    layout = str(rng.choice(list(LAYOUTS), p=list(LAYOUTS.values())))
    return draw_scene(rng, large=True) if layout == "large" else draw_scene(rng, layout=layout)


# A picture depends on its kind's place here: new ones go to the end.
KINDS: dict[str, Kind] = {
    "scenes": Kind(_scene, 5000, 8),
    "plain": Kind(lambda rng: draw_scene(rng, layout="plain"), 3000, 8),
    "charts": Kind(draw_chart, 2000, 6, 0.7),
    "screens": Kind(draw_screen, 1500, 6, 0.8),
    "documents": Kind(draw_document, 1500, 6, 0.95),
    "text": Kind(draw_lettering, 1500, 2, 1.0),
}


def draw(folder: Path, counts: Mapping[str, int], seed: int, rounds: int = 1) -> None:
    """Draw up to ``counts`` pictures of each kind into ``folder``, continuing after those that are there.

    ``rounds`` draws a part of every kind before the next part of any.

    Raises:
        OcrUnavailable: Tesseract is missing; says what to do.
    """
    for part in range(1, rounds + 1):
        for kind, count in counts.items():
            draw_kind(folder / kind, kind, math.ceil(count * part / rounds), seed)


def draw_kind(folder: Path, kind: str, count: int, seed: int) -> int:
    """Draw the pictures of one kind up to number ``count`` - 1 and return how many were drawn now.

    Each depends on the seed, the kind and its number alone.
    """
    (folder / "img").mkdir(parents=True, exist_ok=True)
    file = folder / ANNOTATIONS
    first = _resumed(file)
    with file.open("a", encoding="utf-8") as handle:
        for number in tqdm(range(first, count), desc=kind, mininterval=5, disable=first >= count):
            image, line = drawn(kind, seed, number)
            line["image"] = f"img/{number:05}.{'png' if _lossless(kind, image) else 'jpg'}"
            _save(image, folder / line["image"])
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
            handle.flush()
    return max(0, count - first)


def _resumed(file: Path) -> int:
    """The number of the next picture; a last line that was not written to its end is taken away."""
    if not file.exists():
        return 0
    stored = file.read_bytes()
    complete = stored[: stored.rfind(b"\n") + 1]
    if len(complete) < len(stored):
        os.truncate(file, len(complete))
    return complete.count(b"\n")


def drawn(kind: str, seed: int, number: int) -> tuple[Image.Image, dict[str, Any]]:
    """The picture of a number, as it is saved, and its line of annotations without the picture's name."""
    rng = np.random.default_rng([seed, 31, list(KINDS).index(kind), number])
    spec = KINDS[kind]
    while True:
        picture = spec.draw(rng)
        ocr_lines = _read(picture, rng) if rng.random() < spec.reads else None
        if kind == "text" and (not ocr_lines or similarity(ocr_lines, picture.facts["texts"]) < WELL_READ):
            continue
        caption = sentence(picture, rng)
        questions = questions_about(picture, spec.questions, rng, ocr_lines, caption)
        if len(questions.qa) + len(questions.follow) >= spec.questions / 2:
            break
    line: dict[str, Any] = {"image": "", "captions": [caption], "qa": questions.qa}
    line["unanswerable"] = questions.unanswerable
    if ocr_lines:
        line["ocr"] = ocr_lines
    line["follow"] = questions.follow
    if kind in BOXED:
        line["boxes"] = _boxes(picture)
    return _shrunk(picture.image), line


def _boxes(picture: DrawnPicture) -> list[list[Any]]:
    """[colour and shape, left, top, width, height] of the things of which most is visible; fractions of the picture."""
    width, height = picture.image.size
    boxes: list[list[Any]] = []
    for thing in picture.things:
        if thing.visible > 0.5:
            x0, y0, x1, y1 = thing.box
            fractions = x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height
            boxes.append([f"{thing.colour} {thing.shape}", *(round(value, 4) for value in fractions)])
    return boxes


def _read(picture: DrawnPicture, rng: np.random.Generator) -> list[str]:
    """The lines that OCR reads in the picture at its full size."""
    if rng.random() < BY_TESSERACT:
        lines = ocr.read(picture.image).text.split("\n")
    else:
        lines = imitate_ocr(picture.facts["texts"], rng)
    return [line.strip() for line in lines if line.strip()]


def _shrunk(image: Image.Image) -> Image.Image:
    scale = LONGEST_SIDE / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _lossless(kind: str, image: Image.Image) -> bool:
    return kind in ("scenes", "plain") and max(image.size) <= LOSSLESS_SIDE


def _save(image: Image.Image, path: Path) -> None:
    if path.suffix == ".png":
        image.save(path)
    else:
        image.save(path, quality=QUALITY)
