"""OCR layout: where a line is cut, and what stands side by side."""

from vlm_demo.contracts import OcrResult, OcrWord
from vlm_demo.runtime import ocr_layout


def _word(text, x0, y0, x1, y1):
    return OcrWord(text, (x0, y0, x1, y1), 90.0)


ROW = [_word("Flat", 0, 0, 38, 20), _word("white", 44, 0, 90, 20), _word("3.50", 160, 2, 200, 20)]
RESULT = OcrResult("Flat white 3.50\nTotal", (*ROW, _word("Total", 60, 180, 140, 200)), 0.1)


def test_the_words_of_a_reading_fall_into_its_lines():
    assert ocr_layout.lines(RESULT) == [ROW, [RESULT.words[-1]]]


def test_a_line_is_cut_where_its_words_stand_wide_apart():
    assert [[word.text for word in part] for part in ocr_layout.parts(ROW)] == [["Flat", "white"], ["3.50"]]
    back = [ROW[2], ROW[0]]  # a word that stands before the one that was read before it
    assert [len(part) for part in ocr_layout.parts(back)] == [1, 1]
    assert ocr_layout.parts([]) == []


def test_an_icon_that_was_read_as_a_sign_is_no_part_of_a_label():
    def cut(text: str) -> list[str]:
        words = [OcrWord(word, (20 * i, 0, 20 * i + 18, 10), 90.0) for i, word in enumerate(text.split())]
        return [" ".join(word.text for word in part) for part in ocr_layout.parts(words)]

    assert cut("© Free") == ["©", "Free"] and cut("O Weekly digest") == ["O", "Weekly digest"]
    assert cut("@ ® Pay now |") == ["@ ®", "Pay now", "|"]
    for label in ("A simple chart", "GREEN & SONS", "Save $ 5", "FISH (LARGE) - 2"):
        assert cut(label) == [label]
