"""Tesseract engine: small print, tables, labels and pages that do not lie level; each drawn here."""

import os
import subprocess
import threading
import time
from functools import cache
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.kit.printed import LINES, printed
from vlm_demo.contracts import OcrResult, OcrSettings
from vlm_demo.errors import OcrUnavailable, Stopped
from vlm_demo.runtime import hocr, ocr_layout, tesseract, tesseract_engine
from vlm_demo.stages import ocr

PAGE = ["Delivery note 8830", "Two boxes of pears", "Leave them at the gate", "Signed by Helen"]


def test_small_print_is_read_larger_with_boxes_in_the_pictures_pixels() -> None:
    lines = ["Orange juice 7.35", "Lemon cake"]
    image = printed(lines, size=9, spacing=16)
    plain = list(hocr.lines(tesseract.read_hocr(image, 6)))
    result = ocr.read(image)
    assert result.text.split("\n") == lines
    assert [word.text for line in plain for word in line] != result.text.split()  # it was needed
    for word in result.words:
        x0, y0, x1, y1 = word.box
        assert y1 - y0 <= 14 and image.crop((x0, y0, x1, y1)).convert("L").getextrema()[0] < 160
    large = printed(LINES)
    assert tesseract_engine._enlargement(list(hocr.lines(tesseract.read_hocr(large, 6))), large.size) == 1


def test_letters_wide_apart_are_words_of_their_own() -> None:
    image = Image.new("RGB", (420, 60), "white")
    pen = ImageDraw.Draw(image)
    for i, letter in enumerate("ABKM"):
        pen.text((30 + 62 * i, 15), letter, "black", ImageFont.load_default(26))
    words = ocr.read(image).words
    assert [word.text for word in words] == list("ABKM")
    assert all(abs(word.box[0] - 30 - 62 * i) < 6 for i, word in enumerate(words))


@pytest.mark.parametrize("turn", [90, 270])
def test_labels_that_run_upwards_or_downwards_are_read_behind_the_level_lines(turn: int) -> None:
    image = Image.new("RGB", (420, 270), "white")
    image.paste(printed(["Sales by town", "in millions"]))
    for i, name in enumerate(("Lisbon", "Oslo", "New York")):
        label = Image.new("RGB", (110, 30), "white")
        ImageDraw.Draw(label).text((0, 0), name, "black", ImageFont.load_default(22))
        image.paste(label.rotate(turn, expand=True), (60 + 90 * i, 150))
    result = ocr.read(image)
    assert result.text.split("\n") == ["Sales by town", "in millions", "Lisbon Oslo New York"]
    (last,) = [words for words in ocr_layout.lines(result) if words[0].text == "Lisbon"]
    assert [[word.text for word in part] for part in ocr_layout.parts(last)] == [["Lisbon"], ["Oslo"], ["New", "York"]]
    for i, part in enumerate(ocr_layout.parts(last)):
        x0, y0, x1, y1 = ocr_layout.around(part)
        assert y1 - y0 > x1 - x0 and 55 + 90 * i < x0 < x1 < 95 + 90 * i
    assert (last[2].box[1] > last[3].box[1]) == (turn == 90)  # "New" stands below "York" where both run upwards


def test_lines_a_little_askew_are_not_read_from_the_side_too() -> None:
    page = printed(PAGE).rotate(3, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    assert ocr.read(page).text.split("\n") == PAGE


CELLS = [["Train", "Leaves", "Platform"], ["Ghent", "8.15", "12"], ["Bruges", "9.40", "3"], ["Ostend", "10.05", "7"]]


def table(
    scale: float = 1.0, rule: str = "black", paper: str = "white", ink: str = "black", head: str = ""
) -> Image.Image:
    """Every cell between rules; with ``head``, white on a bar of that colour in the first row."""
    across, down, edge = round(180 * scale), round(54 * scale), round(16 * scale)
    image = Image.new("RGB", (len(CELLS[0]) * across + 2 * edge, len(CELLS) * down + 2 * edge), paper)
    pen = ImageDraw.Draw(image)
    for row, texts in enumerate(CELLS):
        for column, text in enumerate(texts):
            x, y = edge + across * column, edge + down * row
            first = head if row == 0 else ""
            pen.rectangle((x, y, x + across, y + down), outline=rule, width=2, fill=first or None)
            place = (x + 14 * scale, y + 12 * scale)
            pen.text(place, text, "white" if first else ink, ImageFont.load_default(24 * scale))
    return image


@pytest.mark.parametrize(
    "image",
    [table(), table(0.5), table(rule="grey", paper="#111", ink="#eee"), table(head="#1f3a6e")],
    ids=["plain", "small", "dark", "filled head"],
)
def test_a_table_with_rules_is_read_row_by_row(image: Image.Image) -> None:
    scale = image.width / table().width
    result = ocr.read(image)
    assert [line.split() for line in result.text.split("\n")] == CELLS
    boxes = {word.text: word.box for word in result.words}
    for row, texts in enumerate(CELLS):
        for column, text in enumerate(texts):
            x0, y0, x1, y1 = (edge / scale - 16 for edge in boxes[text])
            assert 180 * column < x0 < x1 < 180 * (column + 1) and 54 * row < y0 < y1 < 54 * (row + 1)


@cache
def upright(size: int = 28, spacing: int = 44) -> tuple[Image.Image, OcrResult]:
    """The page as it lies level, and how it is read."""
    page = printed(PAGE, size, spacing)
    return page, ocr.read(page)


ROTATE = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@pytest.mark.parametrize("turn", ROTATE)
@pytest.mark.parametrize("size", [28, 12])
def test_a_page_that_lies_on_its_side_or_head_is_read(turn: int, size: int) -> None:
    page, told = upright(size, round(1.6 * size))
    turned = page.transpose(ROTATE[turn])
    result = ocr.read(turned)
    assert result.text.split("\n") == told.text.split("\n") == PAGE
    for word, level in zip(result.words, told.words, strict=True):
        x0, y0, x1, y1 = word.box
        assert turned.crop(word.box).convert("L").getextrema()[0] < 160
        # The box lies where the word's place on the page has gone.
        shown = Image.new("L", page.size)
        shown.paste(255, level.box)
        there = shown.transpose(ROTATE[turn]).getbbox()
        assert max(abs(a - b) for a, b in zip((x0, y0, x1, y1), there, strict=True)) <= 4


@pytest.mark.parametrize("turn", [8, -20, 44, 135, 200])
def test_a_page_that_lies_askew_is_read(turn: int) -> None:
    page, told = upright()
    turned = page.rotate(turn, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    result = ocr.read(turned)
    assert result.text.split("\n") == PAGE
    for word, level in zip(result.words, told.words, strict=True):
        # The box lies where the word's place on the page has gone, by another way to turn it.
        shown = Image.new("L", page.size)
        shown.paste(255, level.box)
        there = shown.rotate(turn, expand=True).getbbox()
        assert max(abs(a - b) for a, b in zip(word.box, there, strict=True)) <= 6


def test_what_was_read_stays_where_no_other_reading_is_better() -> None:
    image = Image.new("RGB", (300, 300), "white")
    pen = ImageDraw.Draw(image)
    for i in range(6):
        pen.ellipse((20 + 45 * i, 30, 50 + 45 * i, 60), outline="black", width=4)
        pen.polygon([(20 + 45 * i, 240), (35 + 45 * i, 205), (50 + 45 * i, 240)], fill="navy")
    found = list(hocr.lines(tesseract.read_hocr(image, 6)))
    reading = tesseract_engine._Reading("eng", None, time.monotonic() + 300)
    assert reading._otherwise(found, image) == (found, False)


def test_nothing_printed_reads_as_nothing() -> None:
    result = ocr.read(Image.new("RGB", (200, 100), "white"))
    assert result.text == "" and result.words == ()


@pytest.mark.parametrize("size", [(1, 1), (3, 400)])
def test_tiny_pictures_do_not_fail_without_a_sentence(size: tuple[int, int]) -> None:
    try:
        assert ocr.read(Image.new("RGB", size)).words == ()
    except OcrUnavailable as error:
        assert str(error).endswith(".")


def with_mark(page: Image.Image) -> Image.Image:
    """The page with a ring below its text, which might be something to read."""
    taller = Image.new("RGB", (page.width, page.height + 90), "white")
    taller.paste(page)
    ImageDraw.Draw(taller).ellipse((40, page.height + 20, 90, page.height + 70), outline="black", width=3)
    return taller


@pytest.mark.parametrize(
    ("image", "said", "readings"),
    [(printed(["MILK"]), "MILK", 1), (printed(PAGE), "\n".join(PAGE), 1), (with_mark(printed(["MILK"])), "MILK", 3)],
)
def test_what_is_read_surely_and_alone_is_read_once(
    image, said: str, readings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    real = tesseract_engine.read_hocr

    def counted(image, mode, *rest):
        modes.append(mode)
        return real(image, mode, *rest)

    monkeypatch.setattr(tesseract_engine, "read_hocr", counted)
    assert said in ocr.read(image).text
    assert len(modes) == 1 if readings == 1 else len(modes) >= readings


class TestTime:
    @pytest.fixture
    def slow_at(self, monkeypatch: pytest.MonkeyPatch):
        """Lets the reading of this number, and all later ones, take too long."""
        real = tesseract_engine.read_hocr

        def put(number: int) -> list[float]:
            given: list[float] = []

            def read_hocr(image, mode, cancelled, languages, seconds):
                given.append(seconds)
                if len(given) >= number:
                    raise tesseract.TookTooLong(tesseract.TOO_LONG)
                return real(image, mode, cancelled, languages, seconds)

            monkeypatch.setattr(tesseract_engine, "read_hocr", read_hocr)
            return given

        return put

    def test_what_was_read_in_time_is_not_lost(self, slow_at) -> None:
        given = slow_at(2)
        assert ocr.read(with_mark(printed(LINES))).text.split("\n") == LINES
        assert len(given) == 2 and given[1] < given[0] <= tesseract.LONGEST_SECONDS  # one time limit for all readings

    def test_small_print_that_was_read_is_not_lost_to_its_enlargement(self, slow_at) -> None:
        slow_at(2)
        assert "cake" in ocr.read(printed(["Orange juice 7.35", "Lemon cake"], size=9, spacing=16)).text

    def test_nothing_in_time_is_one_sentence(self, slow_at) -> None:
        slow_at(1)
        with pytest.raises(OcrUnavailable, match="too long: crop it, or turn OCR off.$"):
            ocr.read(printed(LINES))


def test_a_stop_does_not_wait_for_a_picture_that_is_being_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    began, going_on = threading.Event(), threading.Event()

    def slow(image: Image.Image) -> None:
        began.set()
        going_on.wait(60)

    monkeypatch.setattr(tesseract_engine, "text_angle", slow)
    try:
        with pytest.raises(Stopped):
            ocr.read(with_mark(printed(LINES)), began.is_set)
        assert not going_on.is_set()
    finally:
        going_on.set()


class TestLanguages:
    @pytest.fixture
    def also(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
        """The name of a second language, whose data are those of English."""
        folder = Path(os.environ.get("TESSDATA_PREFIX") or _data_folder())
        for name in ("eng", "quy", "script/Latin"):
            link = tmp_path / f"{name}.traineddata"
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(folder / "eng.traineddata")
        (tmp_path / "osd.traineddata").symlink_to(folder / "eng.traineddata")
        (tmp_path / "configs").symlink_to(folder / "configs")
        monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
        return "quy"

    def test_those_that_are_installed_are_listed(self, also: str) -> None:
        assert set(tesseract_engine.TesseractEngine().installed()) == {"eng", also, "script/Latin"}

    @pytest.mark.parametrize("languages", ["quy", "eng+quy", "script/Latin"])
    def test_each_of_them_is_read(self, also: str, languages: str) -> None:
        assert ocr.read(printed(LINES), settings=OcrSettings(languages)).text.split("\n") == LINES

    @pytest.mark.parametrize("languages", ["xyz", "eng+xyz", "xyz+quy"])
    def test_one_that_is_not_says_which_are(self, also: str, languages: str) -> None:
        with pytest.raises(OcrUnavailable, match="can't read xyz here") as raised:
            ocr.read(printed(LINES), settings=OcrSettings(languages))
        assert "eng" in str(raised.value) and "quy" in str(raised.value) and "osd" not in str(raised.value)
        assert "tesseract-ocr-xyz" in str(raised.value)

    @pytest.mark.parametrize("languages", ["", "eng+", "../eng", "-c x=1", "eng --psm 0", "/etc/passwd"])
    def test_what_is_no_language_never_reaches_tesseract(self, languages: str, monkeypatch) -> None:
        monkeypatch.setattr(tesseract_engine, "read_hocr", None)
        with pytest.raises(OcrUnavailable, match="no name of a language: choose among eng"):
            ocr.read(printed(LINES), settings=OcrSettings(languages))


def _data_folder() -> Path:
    """Where Tesseract's data lie, by its own listing."""
    listing = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=True)
    return Path(listing.stdout.split('"')[1])
