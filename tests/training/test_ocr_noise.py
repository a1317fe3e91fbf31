"""OCR noise: imitated errors are few and of the right kind."""

import numpy as np

from vlm_demo.training.ocr_noise import imitate_ocr

PAGE = [f"Article number {n} costs {n}.{n}5 today, TOTAL: {n * 7},90" for n in range(10, 40)]


def _imitated(seed, lines=PAGE):
    return imitate_ocr(lines, np.random.default_rng(seed))


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
    assert any(line in printed and line != printed for line in wrong for printed in PAGE)  # a part alone
    assert all(line == line.strip() and "\n" not in line and line for line in lines)


def test_rules_of_dashes_are_mostly_not_seen():
    seen = [len(_imitated(seed, ["Tea 1.00", "-" * 30])) > 1 for seed in range(200)]
    assert 0.05 < np.mean(seen) < 0.5
