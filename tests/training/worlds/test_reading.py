"""Reading: imitated mistakes are few and of the right kind."""

import numpy as np

from vlm_demo.training.worlds.printed import spelled, texts
from vlm_demo.training.worlds.reading import imitate_ocr

PAGE = [f"Article number {n} costs {n}.{n}5 today, TOTAL: {n * 7},90" for n in range(10, 40)]
PRINTED = [spelled(text, (10, 20 * row, 10 + 8 * len(text), 20 * row + 12)) for row, text in enumerate(PAGE)]


def _imitated(seed, lines=PRINTED):
    return texts(imitate_ocr(lines, np.random.default_rng(seed)))


def test_the_same_seed_reads_the_same():
    for seed in range(5):
        assert _imitated(seed) == _imitated(seed)


def test_some_pages_are_flawless_and_most_lines_are_right():
    pages = [_imitated(seed) for seed in range(200)]
    assert 0.12 < np.mean([page == PAGE for page in pages]) < 0.45
    assert 0.55 < np.mean([line in page for page in pages for line in PAGE]) < 0.9


def test_the_mistakes_are_those_of_tesseract():
    lines = [line for seed in range(300) for line in _imitated(seed)]
    wrong = [line for line in lines if line not in PAGE]
    text = "\n".join(wrong)
    assert any("costs 1" in line and "1.15" not in line and "115" in line for line in wrong)  # a lost point
    assert "|" in text and "~" in text and "T0TAL" in text  # strays and confusions
    assert any(line in whole and line != whole for line in wrong for whole in PAGE)  # a part alone
    assert all(line == line.strip() and "\n" not in line and line for line in lines)


def test_a_word_stays_where_it_was_printed_whatever_is_read_for_it():
    found = 0
    for seed in range(60):
        for line in imitate_ocr(PRINTED, np.random.default_rng(seed)):
            for word in line:
                row = PRINTED[round(word.box[1] / 20)]
                assert word.box[1] % 20 == 0 and word.box[0] < word.box[2]
                if word.text in ("Article", "number", "costs", "today,", "TOTAL:"):
                    (printed,) = (own for own in row if own.text == word.text)
                    assert np.allclose(printed.box, word.box, atol=1)
                    found += 1
    assert found > 5000


def test_rules_of_dashes_are_mostly_not_seen():
    kept = [
        len(_imitated(seed, [spelled(text, (0, 0, 90, 9)) for text in ("Tea 1.00", "-" * 30)])) > 1
        for seed in range(200)
    ]
    assert 0.05 < np.mean(kept) < 0.5
