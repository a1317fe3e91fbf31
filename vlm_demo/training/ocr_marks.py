"""OCR marks: printed words → OCR text in which each part of a line stands behind a mark of the patch where it lies.

Only the older recipes here train with marks, ``<|at29|>Total<|at40|>12.50``; prompts hold plain text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from vlm_demo.stages.ocr_layout import Line, around, parts

MARK = "<|at{}|>"

Piece = tuple[str, str]  # ("place", a mark) or ("ocr", text)


def marks(tokenizer: PreTrainedTokenizerBase) -> int:
    """For how many patches the tokenizer has a mark."""
    known = tokenizer.get_added_vocab()
    count = 0
    while MARK.format(count) in known:
        count += 1
    return count


def patch_at(point: tuple[float, float], boxes: np.ndarray) -> int:
    """The patch whose middle is nearest to a point; ``boxes`` [patches, 4] in the same pixels."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return int(np.square(middles - np.asarray(point, dtype=np.float32)).sum(1).argmin())


def marked(read: Sequence[Line], boxes: np.ndarray) -> list[Piece]:
    """The text of the lines, each part of a line behind the mark of the patch in which its middle lies, with no space
    between them: so a part is cut into the same tokens as an answer that begins with it.

    Args:
        read: words with their boxes, line by line.
        boxes: float [patches, 4], what each patch covers in the same pixels.
    """
    pieces: list[Piece] = []
    for number, line in enumerate(read):
        if number:
            pieces.append(("ocr", "\n"))
        for part in parts(line):
            x0, y0, x1, y1 = around(part)
            pieces.append(("place", MARK.format(patch_at(((x0 + x1) / 2, (y0 + y1) / 2), boxes))))
            pieces.append(("ocr", " ".join(word.text for word in part)))
    return pieces
