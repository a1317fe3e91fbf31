"""Answers whose tokens look at known patches: no model wrote them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vlm_demo.contracts import Answer, HeatmapSettings, Memory, Prompt, Timings, Token, Trace, View
from vlm_demo.explain.methods import RECORDED
from vlm_demo.runtime.detokenizer import words_of

GRID = (4, 4)
BOXES = np.array([(j * 10, i * 10, j * 10 + 10, i * 10 + 10) for i in range(4) for j in range(4)], np.float32)
VIEW = View(Image.new("RGB", (40, 40)), (40, 40), None, GRID, BOXES)


def answer(*texts: str, pictures: int = 1, trace: bool = True) -> Answer:
    """Token i looks at patch i of the first picture and at patch 15 - i of the others."""
    tokens = tuple(Token(text, i, 0.5) for i, text in enumerate(texts))
    image = np.full((len(tokens), 2, 2, 16 * pictures), 1e-3, np.float16)
    for i in range(len(tokens)):
        image[i, :, :, i] = 0.5
        for picture in range(1, pictures):
            image[i, :, :, 16 * picture + 15 - i] = 0.5
    shares = np.zeros(image.shape[:3], np.float16)
    held = Trace(image, shares, shares, (16,) * pictures, 0, HeatmapSettings()) if trace else None
    return Answer(
        text="".join(texts),
        tokens=tokens,
        words=words_of(tokens),
        prompt=Prompt("", (), 0, (), ()),
        views=(VIEW,) * pictures,
        ocr=None,
        timings=Timings(),
        memory=Memory(0, 0),
        model="made up",
        trace=held,
        drawer=RECORDED,
    )


def patches(heat: np.ndarray) -> set[int]:
    """The patches whose middle is hot."""
    return {
        i for i, (x0, y0, _, _) in enumerate(BOXES.astype(int)) if heat[y0 + 4 : y0 + 6, x0 + 4 : x0 + 6].max() > 0.8
    }


SAID = answer("A", " large", " red", " cir", "cle", ",", " and", " a", " Red", " square", ".")
