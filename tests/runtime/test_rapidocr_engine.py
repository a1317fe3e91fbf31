"""RapidOCR engine: rows and words of what it finds; and the package itself, where the extra is installed."""

import importlib.util
import sys

import pytest

from tests.kit.printed import LINES, printed
from vlm_demo.contracts import OcrSettings
from vlm_demo.errors import BadSetting, OcrUnavailable, Stopped
from vlm_demo.runtime import rapidocr_engine
from vlm_demo.runtime.ocr_engines import ENGINES, engine_for
from vlm_demo.stages import ocr

RAPID = OcrSettings(engine="rapidocr")


def corners(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def test_texts_side_by_side_are_a_line_from_the_left() -> None:
    found = [
        (corners(200, 12, 260, 30), "2.50", 0.9),
        (corners(10, 50, 90, 70), "TOTAL", 0.99),
        (corners(10, 10, 110, 32), "Dark bread", 0.8),
    ]
    lines = rapidocr_engine.rows(found)
    assert [[word.text for word in line] for line in lines] == [["Dark", "bread", "2.50"], ["TOTAL"]]
    dark, bread, price = lines[0]
    assert dark.box == (10, 10, 50, 32) and bread.box == (60, 10, 110, 32) and price.box == (200, 12, 260, 30)
    assert price.confidence == pytest.approx(90)


def test_nothing_found_is_no_line() -> None:
    assert rapidocr_engine.rows([]) == [] and rapidocr_engine.rows([(corners(0, 0, 9, 9), " ", 0.9)]) == []


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
    with pytest.raises(OcrUnavailable, match="pip install rapidocr-onnxruntime"):
        ocr.read(printed(LINES), settings=RAPID)


def test_an_engine_that_there_is_not_says_which_there_are() -> None:
    assert set(ENGINES) == {"tesseract", "rapidocr"}
    with pytest.raises(BadSetting, match="tesseract or rapidocr"):
        engine_for("nonesuch")


@pytest.mark.skipif(
    importlib.util.find_spec("rapidocr_onnxruntime") is None,
    reason="the extra is not installed: pip install rapidocr-onnxruntime",
)
class TestInstalled:
    def test_it_reads_lines_and_where_they_stand(self) -> None:
        result = ocr.read(printed(LINES), settings=RAPID)
        assert [line.replace(" ", "") for line in result.text.split("\n")] == [line.replace(" ", "") for line in LINES]
        total = next(word for word in result.words if word.text.startswith("TOTAL"))
        assert 95 < total.box[1] < total.box[3] < 165

    def test_a_language_that_it_does_not_read_is_one_sentence(self) -> None:
        with pytest.raises(OcrUnavailable, match="eng and chi_sim"):
            ocr.read(printed(LINES), settings=OcrSettings("rus", "rapidocr"))

    def test_a_stop_does_not_wait_for_it(self) -> None:
        with pytest.raises(Stopped):
            ocr.read(printed(LINES), lambda: True, RAPID)
