"""What a picture may be given as, pages and frames of files, and files that are refused by their kind."""

import gzip
import io
import os
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from tests.kit.pictures import saved
from vlm_demo.errors import BadImage
from vlm_demo.images import open as opening
from vlm_demo.images import pdf
from vlm_demo.images.open import Page, open_image
from vlm_demo.images.pages import pages_in

COLOURS = ((255, 0, 0), (0, 128, 0), (0, 0, 255))


def paged(kind: str) -> bytes:
    """A red, a green and a blue page."""
    pages = [Image.new("RGB", (60, 40), colour) for colour in COLOURS]
    more = {"lossless": True} if kind == "WEBP" else {}
    return saved(pages[0], kind, save_all=True, append_images=pages[1:], **more)


def near(pixel: tuple, colour: tuple) -> bool:
    return max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) <= 6


class TestTwice:
    def test_a_file_object_can_be_asked_about_again(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(saved(Image.new("RGB", (9, 7), "red"), "PNG"))
        with path.open("rb") as file:
            for source in (file, io.BytesIO(path.read_bytes())):
                assert [open_image(source)[0].size for _ in range(3)] == [(9, 7)] * 3

    def test_one_that_was_just_written_is_read_from_its_begin(self) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (9, 7), "red").save(buffer, "PNG")
        end = buffer.tell()
        assert open_image(buffer)[0].size == (9, 7) and buffer.tell() == end

    def test_one_that_cannot_go_back_says_so(self) -> None:
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as sink:
            sink.write(saved(Image.new("RGB", (9, 7), "red"), "PNG"))
        with os.fdopen(reading, "rb") as pipe:
            assert open_image(pipe)[0].size == (9, 7)
            with pytest.raises(BadImage, match="nothing left"):
                open_image(pipe)

    def test_an_array_twice_and_as_a_copy(self) -> None:
        values = np.zeros((7, 9, 3), np.uint8)
        values[..., 0] = 255
        first, second = open_image(values)[0], open_image(values)[0]
        values[:] = 9
        assert first.getpixel((0, 0)) == second.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    "values",
    [
        np.full((7, 9), 128, np.uint8),
        np.full((7, 9, 1), 128, np.uint8),
        np.full((7, 9, 3), 128, np.uint8)[:, ::-1],
        np.dstack([np.full((7, 9, 3), 128, np.uint8), np.full((7, 9), 255, np.uint8)]),
        np.full((7, 9, 3), 128 / 255, np.float64),
        np.full((7, 9), 128.0, np.float32),
        np.full((7, 9, 3), 128 * 257, np.uint16),
    ],
    ids=lambda values: f"{values.dtype}{list(values.shape)}",
)
def test_arrays_of_every_usual_kind(values: np.ndarray) -> None:
    image, _ = open_image(values)
    assert image.mode == "RGB" and image.size == (9, 7) and image.getpixel((4, 3)) == (128, 128, 128)


def test_an_array_of_truths() -> None:
    assert open_image(np.eye(5, dtype=bool))[0].getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.parametrize(
    "values", [np.zeros(5), np.zeros((3, 40, 60)), np.zeros((0, 5)), np.zeros((4, 4), complex), np.array([["a"]])]
)
def test_arrays_that_are_no_pictures(values: np.ndarray) -> None:
    with pytest.raises(BadImage, match="no picture|no pixels"):
        open_image(values)


def nested(levels: int) -> bytes:
    """A PDF of a form that is drawn from ten forms, each of which is drawn from ten, and so on."""
    forms = []
    for level in range(levels):
        content = b"0 0 1 1 re f" if level == 0 else b"/F Do " * 10
        used = b"" if level == 0 else b"/XObject << /F %d 0 R >>" % (4 + level)
        head = b"/Type /XObject /Subtype /Form /BBox [0 0 100 100] /Resources << %s >>" % used
        forms.append(b"<< %s /Length %d >> stream\n%s\nendstream" % (head, len(content), content))
    resources = b"/Contents 4 0 R /Resources << /XObject << /F %d 0 R >> >>" % (4 + levels)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] %s >>" % resources,
        b"<< /Length 5 >> stream\n/F Do\nendstream",
        *forms,
    ]
    file, places = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return (
        file
        + head
        + table
        + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(file))
    )


class TestPages:
    def test_a_frame_behind_too_many_large_ones_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = paged("GIF")
        with Image.open(io.BytesIO(data)) as image:
            monkeypatch.setattr(opening, "MAX_FRAME_PIXELS", 2 * image.width * image.height)
        assert open_image(Page(data, 2))[0].getpixel((5, 5)) == COLOURS[1]
        with pytest.raises(BadImage, match="too far from its first"):
            open_image(Page(data, 3))
        open_image(Page(paged("TIFF"), 3))

    @pytest.mark.parametrize("kind", ["PDF", "GIF", "TIFF", "WEBP", "PNG"])
    def test_each_can_be_chosen_and_there_is_a_note(self, kind: str) -> None:
        data = paged(kind)
        for number, colour in enumerate(COLOURS, 1):
            image, notes = open_image(Page(data, number))
            assert open_image(data, page=number)[0] == image
            assert near(image.getpixel((image.width // 2, image.height // 2)), colour)
            which = str(number) if kind == "PDF" or number > 1 else "first"
            assert "Only" in notes[0] and which in notes[0] and "of 3" in notes[0]

    @pytest.mark.parametrize("kind", ["PDF", "GIF", "TIFF"])
    @pytest.mark.parametrize("number", [0, -1, 4])
    def test_one_that_is_not_there(self, kind: str, number: int) -> None:
        with pytest.raises(BadImage, match="choose 1 to 3"):
            open_image(Page(paged(kind), number))

    def test_a_single_picture_has_page_one_alone(self) -> None:
        data = saved(Image.new("RGB", (8, 8)), "JPEG")
        assert open_image(Page(data, 1))[1] == ()
        with pytest.raises(BadImage, match="leave the number away"):
            open_image(Page(data, 2))

    def test_an_open_picture_has_no_pages_to_choose(self) -> None:
        with pytest.raises(BadImage, match="pass the file"):
            open_image(Page(Image.new("RGB", (8, 8)), 1))

    def test_a_path_and_a_file_object(self, tmp_path: Path) -> None:
        path = tmp_path / "three.tif"
        path.write_bytes(paged("TIFF"))
        with path.open("rb") as file:
            for source in (path, str(path), file):
                assert open_image(Page(source, 3))[0].getpixel((5, 5)) == COLOURS[2]


class TestPdf:
    def test_a_page_is_drawn_with_the_dots_of_a_scan(self) -> None:
        document = pypdfium2.PdfDocument.new()
        document.new_page(595, 842)  # A4 in points
        buffer = io.BytesIO()
        document.save(buffer)
        image, notes = open_image(buffer.getvalue())
        assert abs(image.width - 595 / 72 * 200) <= 1 and abs(image.height - 842 / 72 * 200) <= 1
        assert image.getpixel((5, 5)) == (255, 255, 255) and notes == ()

    def test_a_poster_stays_within_limits_and_a_thread_is_refused(self) -> None:
        for size, refused in (((14_000, 9000), False), ((14_000, 0.2), True)):
            document = pypdfium2.PdfDocument.new()
            document.new_page(*size)
            buffer = io.BytesIO()
            document.save(buffer)
            if refused:
                with pytest.raises(BadImage, match="elongated|damaged"):
                    open_image(buffer.getvalue())
            else:
                assert max(open_image(buffer.getvalue())[0].size) <= 4000

    def test_one_that_takes_too_long_is_refused_and_others_are_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pdf, "SECONDS", 2.0)
        with pytest.raises(BadImage, match="too much time or memory"):
            open_image(nested(9))
        monkeypatch.undo()
        assert open_image(nested(1))[0].width == round(100 / 72 * 200)
        assert pages_in(nested(1)) == ("page", 1)

    @pytest.mark.parametrize("data", [b"%PDF-1.7 ...", paged("PDF")[:300], b"%PDF-1.4\n%%EOF"])
    def test_a_damaged_one(self, data: bytes) -> None:
        with pytest.raises(BadImage, match="PDF.*(damaged|no pages)"):
            open_image(data)


class TestRefusedByName:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG.*PNG"),
            (b"\xef\xbb\xbf  <?xml version='1.0'?>\n<!-- drawn -->\n<svg:svg width='9'>", "SVG.*PNG"),
            ("<?xml version='1.0' encoding='UTF-16'?><svg />".encode("utf-16"), "SVG.*PNG"),
            (gzip.compress(b"<svg xmlns='http://www.w3.org/2000/svg'/>", mtime=0), "SVG.*PNG"),
            (b"<!DOCTYPE html><html><body>photo", "web page"),
            (b"8BPS\0\1" + bytes(40), "Photoshop"),
            (b"\xff\x0a\xfa\x7f", "JPEG XL"),
            (b"\0\0\0\x18ftypmp42" + bytes(40), "video"),
            (b"PK\x03\x04" + bytes(40), "archive"),
            (bytes(128) + b"DICM", "DICOM"),
            (b"%!PS-Adobe-3.0", "PostScript"),
        ],
    )
    def test_with_the_way_out(self, data: bytes, message: str) -> None:
        with pytest.raises(BadImage, match=message) as caught:
            open_image(data)
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)

    def test_a_device_is_not_read(self) -> None:
        with pytest.raises(BadImage, match="no file"):
            open_image("/dev/zero")

    def test_text_is_not_bytes(self) -> None:
        with pytest.raises(BadImage, match='"rb"'):
            open_image(io.StringIO("picture"))


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_tiff_that_was_turned_says_so(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    held = Image.new("RGB", (30, 20), "white")
    held.paste("red", (0, 0, 30, 5))
    turned = held.transpose(Image.Transpose.ROTATE_180 if orientation == 3 else Image.Transpose.ROTATE_90)
    image, notes = open_image(saved(turned, "TIFF", exif=exif))
    assert image.size == (30, 20) and image.getpixel((15, 2)) == (255, 0, 0)
    assert notes == ("The picture was turned upright, as its camera noted.",)


def test_a_phones_heic() -> None:
    picture = Image.new("RGB", (64, 48), (200, 40, 40))
    image, notes = open_image(saved(picture, "HEIF", quality=90))
    assert image.size == (64, 48) and near(image.getpixel((30, 20)), (200, 40, 40)) and notes == ()
