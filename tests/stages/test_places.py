"""Places: marks say where words stand, text stays text, and a checkpoint without marks gets the plain text."""

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from vlm_demo.contracts import OcrResult, OcrWord, View
from vlm_demo.stages import places


def _word(text, x0, y0, x1, y1):
    return OcrWord(text, (x0, y0, x1, y1), 90.0)


ROW = [_word("Flat", 0, 0, 38, 20), _word("white", 44, 0, 90, 20), _word("3.50", 160, 2, 200, 20)]
RESULT = OcrResult("Flat white 3.50\nTotal", (*ROW, _word("Total", 60, 180, 140, 200)), 0.1)


def _view(rows, columns):
    across, down = np.linspace(0, 200, columns + 1), np.linspace(0, 200, rows + 1)
    boxes = [(across[c], down[r], across[c + 1], down[r + 1]) for r in range(rows) for c in range(columns)]
    image = Image.new("RGB", (200, 200))
    pixels = torch.zeros(1, 3, 8, 8)
    return View(image, image.size, pixels, np.zeros((8, 8, 3)), (rows, columns), np.array(boxes, dtype=np.float32))


def test_a_line_is_cut_where_its_words_stand_wide_apart():
    assert [[word.text for word in part] for part in places.parts(ROW)] == [["Flat", "white"], ["3.50"]]
    back = [ROW[2], ROW[0]]  # a word that stands before the one that was read before it
    assert [len(part) for part in places.parts(back)] == [1, 1]
    assert places.parts([]) == []


def test_an_icon_that_was_read_as_a_sign_is_no_part_of_a_label():
    def cut(text: str) -> list[str]:
        words = [OcrWord(word, (20 * i, 0, 20 * i + 18, 10), 90.0) for i, word in enumerate(text.split())]
        return [" ".join(word.text for word in part) for part in places.parts(words)]

    assert cut("© Free") == ["©", "Free"] and cut("O Weekly digest") == ["O", "Weekly digest"]
    assert cut("@ ® Pay now |") == ["@ ®", "Pay now", "|"]
    for label in ("A simple chart", "GREEN & SONS", "Save $ 5", "FISH (LARGE) - 2"):
        assert cut(label) == [label]


def test_the_marks_are_those_of_the_patches_in_which_the_parts_stand():
    pieces = places.told([RESULT], [_view(4, 4)], 16)
    assert pieces == [
        ("place", "<|at0|>"), ("ocr", "Flat white"), ("place", "<|at3|>"), ("ocr", "3.50"), ("ocr", "\n"),
        ("place", "<|at13|>"), ("ocr", "Total"),
    ]  # fmt: skip
    text = "".join(" " if kind == "place" else text for kind, text in pieces)
    assert "\n".join(line.strip() for line in text.split("\n")) == RESULT.text


def test_pictures_of_another_grid_and_tokenizers_without_marks_get_the_plain_text():
    nothing = OcrResult("", (), 0.1)
    for views, known in (([_view(4, 4)], 0), ([_view(2, 2)], 16)):
        assert places.told([RESULT], views, known) == RESULT.text
    assert places.told([], [], 16) == [] and places.told([nothing], [_view(2, 2)], 16) == []
    two = places.told([RESULT, nothing, RESULT], [_view(4, 4), _view(2, 2), _view(4, 4)], 16)
    once = places.told([RESULT], [_view(4, 4)], 16)
    assert two == [*once, ("ocr", "\n"), *once]


def test_marks_are_counted_up_to_the_first_that_is_missing():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    assert places.marks(tokenizer) == 0
    tokenizer.add_tokens(["<|at0|>", "<|at1|>", "<|at3|>"], special_tokens=True)
    assert places.marks(tokenizer) == 2
