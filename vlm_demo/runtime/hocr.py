"""hOCR: what Tesseract wrote of a picture → lines of words with their boxes.

Knows the format (http://kba.github.io/hocr-spec/1.2/); neither the picture nor Tesseract.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from vlm_demo.contracts import OcrWord

LEAST_CONFIDENCE = 30.0  # below, it is mostly letters seen in shapes
APART = 0.9  # of a letter's height: so far from the one before it, a letter begins a word of its own


def lines(hocr: str, scale: float = 1.0) -> Iterator[list[OcrWord]]:
    """The lines that hold words of at least `LEAST_CONFIDENCE`, their boxes multiplied by ``scale``."""
    for element in ElementTree.fromstring(hocr).iter():
        words = [part for part in element if part.get("class") == "ocrx_word"]
        line = [part for word in words for part in _word(word, scale)]
        if line:
            yield line


def _word(word: ElementTree.Element, scale: float) -> Iterator[OcrWord]:
    """What Tesseract takes for a word, cut where its letters stand wide apart: it joins the labels of an axis."""
    confidence = float(_property(word, "x_wconf")[0])
    if confidence < LEAST_CONFIDENCE:
        return
    letters = [
        ((letter.text or "").strip(), [float(edge) * scale for edge in _property(letter, "x_bboxes")])
        for letter in word.iter()
        if letter.get("class") == "ocrx_cinfo"
    ]
    letters = [(text, box) for text, box in letters if text]
    if not letters:
        return
    widest = APART * max(box[3] - box[1] for _, box in letters)
    begin = 0
    for i in range(1, len(letters) + 1):
        if i < len(letters) and letters[i][1][0] - letters[i - 1][1][2] <= widest:
            continue
        run = letters[begin:i]
        # The boxes of letters are less exact than the word's.
        word_box = [float(edge) * scale for edge in _property(word, "bbox")]
        boxes = [word_box] if len(run) == len(letters) else [box for _, box in run]
        left, top, right, bottom = zip(*boxes, strict=True)
        box = (round(min(left)), round(min(top)), round(max(right)), round(max(bottom)))
        yield OcrWord("".join(text for text, _ in run), box, confidence)
        begin = i


def _property(element: ElementTree.Element, name: str) -> list[str]:
    """The values of a property in hOCR's ``title``."""
    properties = (part.split() for part in element.get("title", "").split(";"))
    return next((values[1:] for values in properties if values and values[0] == name), ["0"] * 4)
