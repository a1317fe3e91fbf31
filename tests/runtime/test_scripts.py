"""Letters that the chosen languages lack: reported where text was hardly read, with the language that reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.kit.printed import LINES, printed
from vlm_demo.contracts import OcrWord
from vlm_demo.errors import OcrUnavailable
from vlm_demo.runtime import scripts, tesseract
from vlm_demo.runtime.tesseract_engine import TesseractEngine
from vlm_demo.stages import ocr

FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
RUSSIAN = ("Сегодня хорошая погода в городе", "Магазин открыт с девяти часов", "Итого к оплате 1250 рублей")
THERE = ("eng", "rus", "script/Greek")


@pytest.mark.parametrize(
    ("script", "languages", "installed", "expected"),
    [
        ("Cyrillic", "eng", ("eng",), "only eng can be read here: install .* tesseract-ocr-rus`"),
        ("Cyrillic", "eng", THERE, "was read as eng: choose rus as its language"),
        ("Greek", "eng+rus", THERE, "was read as eng and rus: choose script/Greek"),
        ("Han", "eng", THERE, "tesseract-ocr-chi-sim`"),
        ("Han", "eng", ("eng", "script/Hangul"), "tesseract-ocr-chi-sim`"),
        ("Han", "eng", ("eng", "script/HanS_vert"), "choose script/HanS_vert"),
        ("Latin", "rus", THERE, "looks like Latin letters, .*choose eng"),
        ("", "eng", THERE, "Little of this text was read surely: .*not written as eng is.*eng, rus, script/Greek"),
    ],
)
def test_the_sentence_names_what_reads_the_text(script: str, languages: str, installed, expected: str) -> None:
    sentence = scripts.advice(script, languages, installed, True)
    assert re.search(expected, sentence), sentence
    assert sentence.endswith(".") and "\n" not in sentence


@pytest.mark.parametrize(
    ("script", "languages"),
    [("Cyrillic", "rus"), ("Cyrillic", "eng+ukr"), ("Greek", "script/Greek"), ("Latin", "eng"), ("Latin", "deu")],
)
def test_letters_of_a_chosen_language_need_none(script: str, languages: str) -> None:
    assert scripts.advice(script, languages, THERE, True) == ""


def test_of_few_letters_of_no_known_script_there_is_no_advice() -> None:
    assert scripts.advice("", "eng", THERE, False) == "" and scripts.advice("Fraktur", "eng", THERE, False) == ""


def russian() -> Image.Image:
    image = Image.new("RGB", (900, 240), "white")
    for number, line in enumerate(RUSSIAN):
        font = ImageFont.truetype(str(FONT), 30)
        ImageDraw.Draw(image).text((30, 25 + 60 * number), line, "black", font)
    return image


@pytest.mark.skipif(not FONT.is_file(), reason="no font with Cyrillic letters")
def test_a_russian_page_read_as_english_is_reported() -> None:
    if not tesseract.script_of(russian()):
        pytest.skip("Tesseract has no data of scripts here")
    assert "Cyrillic letters" in ocr.read(russian()).note


def test_a_page_that_is_read_well_costs_no_look_at_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tesseract, "script_of", None)
    assert ocr.read(printed(LINES)).note == "" and ocr.read(Image.new("RGB", (90, 60), "white")).note == ""


def test_without_data_of_scripts_the_confidence_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> str:
        raise OcrUnavailable("gone")

    engine, page = TesseractEngine(), printed(["some lines of text", "that nobody can read", "in this language"])
    found = [[OcrWord("CerogHa", (30, 20, 200, 50), 44.0), OcrWord("xopowaa", (210, 20, 300, 50), 50.0)]]
    monkeypatch.setattr(tesseract, "script_of", lambda *_: "")
    assert engine.doubt(page, found, "eng").startswith("Little of this text was read surely")
    assert engine.doubt(page, found[:0], "eng") == ""
    monkeypatch.setattr(tesseract, "script_of", missing)
    assert engine.doubt(page, found, "eng") == ""
