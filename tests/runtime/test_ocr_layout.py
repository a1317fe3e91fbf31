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


def test_a_label_that_runs_sideways_ends_where_a_gap_begins():
    label = [_word("New", 0, 164, 20, 200), _word("York", 0, 110, 20, 156), _word("3", 0, 20, 20, 36)]
    assert [[word.text for word in part] for part in ocr_layout.parts(label)] == [["New", "York"], ["3"]]


def test_an_icon_that_was_read_as_a_sign_is_no_part_of_a_label():
    def cut(text: str) -> list[str]:
        words = [OcrWord(word, (20 * i, 0, 20 * i + 18, 10), 90.0) for i, word in enumerate(text.split())]
        return [" ".join(word.text for word in part) for part in ocr_layout.parts(words)]

    assert cut("© Free") == ["©", "Free"] and cut("O Weekly digest") == ["O", "Weekly digest"]
    assert cut("@ ® Pay now |") == ["@ ®", "Pay now", "|"]
    for label in ("A simple chart", "GREEN & SONS", "Save $ 5", "FISH (LARGE) - 2"):
        assert cut(label) == [label]


def _label(text, x0, y0, x1, y1, confidence=95.0):
    return [OcrWord(text, (x0, y0, x1, y1), confidence)]


def _texts(lines):
    return [" ".join(word.text for word in line) for line in lines]


def test_labels_that_run_downwards_stand_behind_the_level_lines_too():
    level = [_label("Sales", 0, 0, 60, 20)]
    labels = [_label("Lisbon", 10, 40, 30, 110), _label("Oslo", 60, 40, 80, 90)]
    for upward, downward in ((labels, []), ([], labels)):
        assert _texts(ocr_layout.with_sideways(level, upward, downward)) == ["Sales", "Lisbon Oslo"]


def test_a_label_counts_once_in_the_way_that_is_surer():
    there = (10, 40, 30, 110)
    sure, seen = _label("Lisbon", *there, 95.0), _label("uoqsi", *there, 86.0)
    assert _texts(ocr_layout.with_sideways([], [sure], [seen])) == ["Lisbon"]
    assert _texts(ocr_layout.with_sideways([], [seen], [sure])) == ["Lisbon"]


def test_a_column_of_letters_read_from_the_side_is_no_label():
    assert ocr_layout.with_sideways([], [_label("Sia", 10, 0, 30, 130)]) == []
    assert _texts(ocr_layout.with_sideways([], [_label("Sia", 10, 0, 30, 60)])) == ["Sia"]


def test_what_lies_across_level_lines_is_no_label():
    level = [
        [_word("Leave", 0, 30 * i, 60, 30 * i + 20), _word("them", 66, 30 * i, 120, 30 * i + 20)] for i in range(3)
    ]
    assert _texts(ocr_layout.with_sideways(level, [_label("aoessox", 40, 0, 80, 80)])) == ["Leave them"] * 3


def test_an_unsure_piece_of_a_level_line_is_no_label():
    level = [_label("Price", 0, 0, 60, 20)]
    pieces = [_label(text, 100 + 40 * i, 2, 112 + 40 * i, 20, 60.0) for i, text in enumerate(("uS", "go", "xa"))]
    assert _texts(ocr_layout.with_sideways(level, pieces)) == ["Price"]
    lower = [[OcrWord(word.text, (word.box[0], 62, word.box[2], 80), 60.0)] for (word,) in pieces]
    assert _texts(ocr_layout.with_sideways(level, lower)) == ["Price", "uS go xa"]  # three in a row elsewhere are some


def test_lines_that_a_reading_lacks_are_put_where_they_stand():
    found = [_label("Ghent", 0, 40, 60, 60), _label("Ostend", 0, 120, 60, 140)]
    others = [
        _label("Train", 0, 0, 60, 20),
        _label("Chent", 0, 40, 60, 60),
        _label("Bruges", 0, 80, 60, 100),
        _label("i1", 0, 160, 20, 180, 60.0),
    ]
    assert _texts(ocr_layout.with_missing(found, others)) == ["Train", "Ghent", "Bruges", "Ostend"]
