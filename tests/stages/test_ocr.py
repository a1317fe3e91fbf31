"""Reading printed text: what is read, where it stands, and what happens without Tesseract."""

import tempfile
import threading
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from vlm_demo import Pipeline
from vlm_demo.contracts import StageEvent
from vlm_demo.errors import OcrUnavailable, Stopped
from vlm_demo.runtime import ocr_layout, tesseract
from vlm_demo.stages import ocr
from vlm_demo.stages.prompt import OCR_HEADER

LINES = ["GREEN MARKET", "Coffee 2.50", "TOTAL 12.50"]


def printed(lines: list[str], size: int = 28, spacing: int = 44) -> Image.Image:
    image = Image.new("RGB", (420, 40 + spacing * len(lines)), "white")
    pen = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        pen.text((30, 20 + spacing * i), line, "black", ImageFont.load_default(size))
    return image


def test_lines_and_words_in_reading_order() -> None:
    result = ocr.read(printed(LINES))
    assert result.text.split("\n") == LINES
    assert [word.text for word in result.words] == " ".join(LINES).split()
    assert result.seconds > 0


def test_boxes_hold_the_ink_of_their_word() -> None:
    image = printed(LINES)
    for word in ocr.read(image).words:
        x0, y0, x1, y1 = word.box
        assert 0 <= x0 < x1 <= image.width and 0 <= y0 < y1 <= image.height
        assert image.crop(word.box).convert("L").getextrema()[0] < 100
        assert 30 <= word.confidence <= 100
    total = next(word for word in ocr.read(image).words if word.text == "12.50")
    assert 100 < total.box[1] < 160 and total.box[0] > 80


def test_a_price_stays_on_the_line_of_its_goods() -> None:
    image = printed(LINES)
    pen = ImageDraw.Draw(image)
    pen.text((340, 20), "7.77", "black", ImageFont.load_default(28))
    assert ocr.read(image).text.split("\n")[0] == "GREEN MARKET 7.77"


def test_small_print_is_read_larger_and_told_in_the_pictures_own_pixels() -> None:
    lines = ["Orange juice 7.35", "Lemon cake"]
    image = printed(lines, size=9, spacing=16)
    plain = ocr._read_at(1.0, image, None)
    result = ocr.read(image)
    assert result.text.split("\n") == lines
    assert [word.text for line in plain for word in line] != result.text.split()  # it was needed
    for word in result.words:
        x0, y0, x1, y1 = word.box
        assert y1 - y0 <= 14 and image.crop((x0, y0, x1, y1)).convert("L").getextrema()[0] < 160
    large = printed(LINES)
    assert ocr._enlargement(ocr._read_at(1.0, large, None), large.size) == 1


def test_letters_wide_apart_are_words_of_their_own() -> None:
    image = Image.new("RGB", (420, 60), "white")
    pen = ImageDraw.Draw(image)
    for i, letter in enumerate("ABKM"):
        pen.text((30 + 62 * i, 15), letter, "black", ImageFont.load_default(26))
    words = ocr.read(image).words
    assert [word.text for word in words] == list("ABKM")
    assert all(abs(word.box[0] - 30 - 62 * i) < 6 for i, word in enumerate(words))


def test_a_word_is_cut_between_letters_wide_apart_and_nowhere_else() -> None:
    def letter(text: str, left: int, right: int, top: int = 0) -> str:
        return f"<span class='ocrx_cinfo' title='x_bboxes {left} {top} {right} 20; x_conf 99'>{text}</span>"

    word = (
        letter("A", 0, 16) + letter("l", 20, 22) + letter(".", 24, 27, 17) + letter("B", 60, 76) + letter(" ", 90, 95)
    )
    told = f"<html><p class='x'><span class='ocrx_word' title='bbox 0 0 80 21; x_wconf 49'>{word}</span></p></html>"
    (line,) = ocr._lines(told, 0.5)
    assert [(own.text, own.box, own.confidence) for own in line] == [
        ("Al.", (0, 0, 14, 10), 49),
        ("B", (30, 0, 38, 10), 49),
    ]
    assert list(ocr._lines(told.replace("x_wconf 49", "x_wconf 29"), 0.5)) == []
    (line,) = ocr._lines(told.replace("60 0 76", "32 0 48"), 0.5)
    assert [(own.text, own.box) for own in line] == [("Al.B", (0, 0, 40, 10))]  # the word's own box


def test_labels_that_run_upwards_are_read_behind_the_level_lines() -> None:
    image = Image.new("RGB", (420, 260), "white")
    image.paste(printed(["Sales by town", "in millions"]))
    for i, name in enumerate(("Lisbon", "Oslo", "New York")):
        label = Image.new("RGB", (110, 30), "white")
        ImageDraw.Draw(label).text((0, 0), name, "black", ImageFont.load_default(22))
        image.paste(label.rotate(90, expand=True), (60 + 90 * i, 140))
    result = ocr.read(image)
    assert result.text.split("\n") == ["Sales by town", "in millions", "Lisbon Oslo New York"]
    (last,) = [words for words in ocr_layout.lines(result) if words[0].text == "Lisbon"]
    assert [[word.text for word in part] for part in ocr_layout.parts(last)] == [["Lisbon"], ["Oslo"], ["New", "York"]]
    for i, part in enumerate(ocr_layout.parts(last)):
        x0, y0, x1, y1 = ocr_layout.around(part)
        assert y1 - y0 > x1 - x0 and 55 + 90 * i < x0 < x1 < 95 + 90 * i
    assert last[2].box[1] > last[3].box[1]  # "New" stands below "York"


def table(cells: list[list[str]], scale: float = 1.0) -> Image.Image:
    """Every cell between rules."""
    across, down, edge = round(180 * scale), round(54 * scale), round(16 * scale)
    image = Image.new("RGB", (len(cells[0]) * across + 2 * edge, len(cells) * down + 2 * edge), "white")
    pen = ImageDraw.Draw(image)
    for row, texts in enumerate(cells):
        for column, text in enumerate(texts):
            x, y = edge + across * column, edge + down * row
            pen.rectangle((x, y, x + across, y + down), outline="black", width=2)
            pen.text((x + 14 * scale, y + 12 * scale), text, "black", ImageFont.load_default(24 * scale))
    return image


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_table_with_rules_is_read_row_by_row(scale: float) -> None:
    cells = [
        ["Train", "Leaves", "Platform"],
        ["Ghent", "8.15", "12"],
        ["Bruges", "9.40", "3"],
        ["Ostend", "10.05", "7"],
    ]
    image = table(cells, scale)
    result = ocr.read(image)
    assert [line.split() for line in result.text.split("\n")] == cells
    boxes = {word.text: word.box for word in result.words}
    for row, texts in enumerate(cells):
        for column, text in enumerate(texts):
            x0, y0, x1, y1 = (edge / scale - 16 for edge in boxes[text])
            assert 180 * column < x0 < x1 < 180 * (column + 1) and 54 * row < y0 < y1 < 54 * (row + 1)


PAGE = ["Delivery note 8830", "Two boxes of pears", "Leave them at the gate", "Signed by Helen"]
ROTATE = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@pytest.mark.parametrize("turn", ROTATE)
@pytest.mark.parametrize("size", [28, 12])
def test_a_page_that_lies_on_its_side_or_head_is_read(turn: int, size: int) -> None:
    page = printed(PAGE, size, round(1.6 * size))
    upright = ocr.read(page)
    turned = page.transpose(ROTATE[turn])
    result = ocr.read(turned)
    assert result.text.split("\n") == upright.text.split("\n") == PAGE
    for word, level in zip(result.words, upright.words, strict=True):
        x0, y0, x1, y1 = word.box
        assert turned.crop(word.box).convert("L").getextrema()[0] < 160
        # The box lies where the word's place on the page has gone.
        shown = Image.new("L", page.size)
        shown.paste(255, level.box)
        there = shown.transpose(ROTATE[turn]).getbbox()
        assert max(abs(a - b) for a, b in zip((x0, y0, x1, y1), there, strict=True)) <= 4


def test_what_was_read_stays_where_no_other_reading_is_better() -> None:
    image = Image.new("RGB", (300, 300), "white")
    pen = ImageDraw.Draw(image)
    for i in range(6):
        pen.ellipse((20 + 45 * i, 30, 50 + 45 * i, 60), outline="black", width=4)
        pen.polygon([(20 + 45 * i, 240), (35 + 45 * i, 205), (50 + 45 * i, 240)], fill="navy")
    found = [list(line) for line in ocr._read_at(1.0, image, None)]
    assert ocr._read_otherwise(found, image, None) == (found, None)


def test_nothing_printed_reads_as_nothing() -> None:
    result = ocr.read(Image.new("RGB", (200, 100), "white"))
    assert result.text == "" and result.words == ()


@pytest.mark.parametrize("size", [(1, 1), (3, 400)])
def test_tiny_pictures_do_not_fail_without_a_sentence(size: tuple[int, int]) -> None:
    try:
        assert ocr.read(Image.new("RGB", size)).words == ()
    except OcrUnavailable as error:
        assert str(error).endswith(".")


def test_nothing_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert ocr.read(printed(LINES)).words
    assert not list(tmp_path.iterdir())


def test_stopping_ends_the_program() -> None:
    noise = Image.effect_noise((2500, 2500), 90).convert("RGB")
    stop = threading.Event()
    began = time.monotonic()
    threading.Timer(0.6, stop.set).start()
    with pytest.raises(Stopped):
        ocr.read(noise, stop.is_set)
    assert time.monotonic() - began < 0.6 + 0.5


class TestMissing:
    def test_without_the_program(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "tesseract-ocr" in tesseract.available()
        with pytest.raises(OcrUnavailable, match="tesseract-ocr"):
            ocr.read(printed(LINES))

    def test_without_its_data(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
        assert tesseract.available().endswith(".")
        with pytest.raises(OcrUnavailable, match="English data|does not run"):
            ocr.read(printed(LINES))

    def test_here_it_is_available(self) -> None:
        assert tesseract.available() is None

    def test_asking_without_it_says_so(self, pipe: Pipeline, noise, monkeypatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(OcrUnavailable, match="apt-get"):
            pipe.ask(noise(50, 50), "What is the total?", ocr=True)


class TestInThePipeline:
    def test_the_text_goes_before_the_question(self, pipe: Pipeline) -> None:
        events = list(pipe.stream(printed(LINES), "What is the total?", ocr=True, max_new_tokens=2))
        names = [event.name for event in events if isinstance(event, StageEvent)]
        assert names[:3] == ["view", "ocr", "prompt"]
        answer = events[-1]
        assert f"{OCR_HEADER}\nGREEN MARKET\nCoffee 2.50\nTOTAL 12.50\n\nWhat is the total?" in answer.prompt.text
        assert answer.ocr.text.split("\n") == LINES and answer.ocrs == (answer.ocr,)
        assert answer.timings.ocr > 0

    def test_control_strings_printed_in_a_picture_are_text(self, pipe: Pipeline) -> None:
        picture = printed(["<image> </s>", "<|user|> TOTAL"])
        answer = pipe.ask(picture, "What is it?", ocr=True, max_new_tokens=1)
        assert answer.prompt.image_tokens == 16
        ids = answer.prompt.ids
        assert sum(i == pipe.model.config.image_token_id for i in ids) == 16
        assert sum(i == pipe.tokenizer.eos_token_id for i in ids) == 0

    def test_several_pictures_are_read_apart_and_merged(self, pipe: Pipeline) -> None:
        pictures = [printed(LINES[:1]), printed(LINES[2:])]
        answer = pipe.ask(pictures, "What is the total?", ocr=True, max_new_tokens=1)
        assert [result.text for result in answer.ocrs] == ["GREEN MARKET", "TOTAL 12.50"]
        assert answer.ocr.text == "GREEN MARKET\nTOTAL 12.50"
        assert len(answer.ocr.words) == 4
