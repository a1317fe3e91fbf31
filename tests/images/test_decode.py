"""Large, thin and damaged files: what is opened, at which size, and how much memory that takes."""

import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.kit.pictures import saved
from vlm_demo.errors import BadImage
from vlm_demo.images import decode, png_bands
from vlm_demo.images.open import open_image
from vlm_demo.images.pages import pages_in

BUDGET = 300_000_000
MEASURE = """
import json, resource, sys
from PIL import Image
from vlm_demo.images.open import open_image
open_image(Image.new("RGB", (8, 8)))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
image, notes = open_image(sys.argv[1])
print(json.dumps([peak() - before, image.size, notes]))
"""


def squares(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Red on white at the left, blue in the middle."""
    image = Image.new("RGB", (width, height), "white")
    image.paste("red", (0, 0, width // 4, height))
    image.paste("blue", (width // 2, 0, width * 3 // 4, height))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("size", "kind", "options"),
    [
        ((60_000, 1), "PNG", {}),
        ((1280, 20_000), "PNG", {}),
        ((16_000, 3900), "PNG", {"compress_level": 1}),
        ((16_000, 3900), "JPEG", {}),
        ((16_000, 3900), "TIFF", {}),
        ((16_000, 3900), "GIF", {}),
    ],
)
def test_huge_and_thin_pictures_stay_within_the_budget(
    size: tuple[int, int], kind: str, options: dict, tmp_path: Path
) -> None:
    path = tmp_path / "picture"
    squares(*size).save(path, kind, **options)
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    taken, opened, notes = json.loads(done.stdout)
    assert taken < BUDGET
    assert opened[0] * opened[1] <= decode.KEPT_PIXELS and abs(opened[0] / opened[1] / (size[0] / size[1]) - 1) < 0.01
    assert any("shrunk" in note for note in notes) == (size[0] * size[1] > decode.KEPT_PIXELS)


class TestSmaller:
    """With small limits, so that small pictures are large."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(decode, "KEPT_PIXELS", 3000)
        monkeypatch.setattr(decode, "BAND_PIXELS", 1500)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_the_picture_is_the_mean_of_its_squares(self, mode: str, kind: str) -> None:
        grey = np.asarray(squares(203, 97, "L"))
        image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else squares(203, 97, mode)
        shown, notes = open_image(saved(image, kind))
        whole = np.asarray(image.convert("RGB") if mode != "I;16" else Image.fromarray(grey).convert("RGB"))
        assert shown.size == (68, 33)  # 203 × 97 are 6.6 times 3,000: divided by 3
        assert any("203 × 97" in note and "68 × 33" in note for note in notes)
        mean = whole[30:60, 60:66].reshape(10, 3, 2, 3, 3).mean((1, 3))
        assert np.abs(np.asarray(shown)[10:20, 20:22] - mean).max() <= 2

    def test_jpeg_in_its_own_steps(self) -> None:
        shown, _ = open_image(saved(squares(400, 200), "JPEG", quality=95))
        assert shown.width * shown.height <= 3000
        assert shown.getpixel((2, 10))[0] > 240 and shown.getpixel((2, 10))[2] < 20

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
    def test_fewer_pixels_are_kept_where_fewer_are_asked_for(self, kind: str) -> None:
        whole, half = (open_image(saved(squares(60, 40), kind), most_pixels=most)[0] for most in (None, 1200))
        assert whole.size == (60, 40) and half.size == (30, 20)
        assert open_image(saved(squares(203, 97), "PNG"), most_pixels=10**6)[0].size == (68, 33)
        for source in (squares(60, 40), np.asarray(squares(60, 40))):
            shown, notes = open_image(source, most_pixels=1200)
            assert shown.size == (30, 20) and any("60 × 40" in note and "30 × 20" in note for note in notes)

    def test_upright_and_smaller(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        for kind in ("PNG", "JPEG", "TIFF"):
            shown, notes = open_image(saved(squares(203, 97), kind, exif=exif))
            assert shown.height > shown.width and len(notes) == 2
            assert shown.getpixel((5, 2))[2] < 30  # the red is at the top

    def test_the_bands_of_a_png_are_its_rows(self) -> None:
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (97, 50, 3), np.uint8))
        for mode in ("RGB", "RGBA", "L", "P", "LA"):
            image = noise.convert(mode) if mode != "P" else noise.quantize(64)
            stream = io.BytesIO(saved(image, "PNG"))
            found = [np.asarray(band) for band in png_bands.bands(stream, 13)]
            assert [len(band) for band in found] == [13] * 7 + [6]
            assert np.array_equal(np.concatenate(found), np.asarray(image)), mode

    def test_a_large_png_that_is_cut_is_refused(self) -> None:
        data = saved(Image.effect_noise((200, 100), 90), "PNG")
        with pytest.raises(BadImage, match="damaged"):
            open_image(data[: len(data) // 2])


def tiled(side: int) -> bytes:
    """A TIFF of 16 × 16 pixels in one tile of another size, whose data are missing."""
    entries = (
        (256, 16),
        (257, 16),
        (258, 8),
        (259, 8),
        (262, 1),
        (277, 1),
        (322, side),
        (323, side),
        (324, 8),
        (325, 4),
    )
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 12) + bytes(4) + struct.pack("<H", len(entries)) + directory + bytes(4)


def icon(width: int, height: int) -> bytes:
    """An icon that calls itself 64 × 64, and holds a PNG of another size, whose data are missing."""
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0) + bytes(4)
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 64, 64, 0, 0, 1, 32, len(png), 22) + png


@pytest.mark.parametrize("data", [tiled(24_000), icon(30_000, 4000)], ids=["tile", "icon"])
def test_what_the_header_hides_counts_too(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(BadImage, match="more than can be opened"):
        open_image(data)
    assert pages_in(data) == ("frame", 1)


def test_what_would_take_too_much_memory_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MOST_BYTES", 100_000)
    for kind in ("WEBP", "BMP", "AVIF"):
        with pytest.raises(BadImage, match="megapixels.*shrink"):
            open_image(saved(squares(300, 200), kind))
    assert open_image(saved(squares(100, 40), "WEBP"))[0].size == (100, 40)


class TestJpegWithoutEnd:
    @staticmethod
    def photo() -> Image.Image:
        coarse = np.random.default_rng(1).integers(0, 256, (20, 15, 3), np.uint8)
        return Image.fromarray(coarse).resize((300, 400), Image.Resampling.BICUBIC)

    @pytest.mark.parametrize("missing", [1, 2])
    def test_without_its_marker_nothing_is_lost(self, missing: int) -> None:
        data = saved(self.photo(), "JPEG")
        shown, notes = open_image(data[:-missing])
        assert np.array_equal(np.asarray(shown), np.asarray(Image.open(io.BytesIO(data))))
        assert len(notes) == 1 and "lacks its end" in notes[0]

    @pytest.mark.parametrize("progressive", [False, True])
    def test_without_its_last_rows(self, progressive: bool) -> None:
        data = saved(self.photo(), "JPEG", progressive=progressive)
        if progressive:
            with pytest.raises(BadImage, match="damaged"):
                open_image(data[: len(data) // 4])
            return
        shown, notes = open_image(data[: len(data) * 4 // 5])
        assert "rows are missing" in notes[0]
        whole = np.asarray(Image.open(io.BytesIO(data))).astype(int)
        found = np.asarray(shown).astype(int)
        missing = int(notes[0].split("last ")[1].split(" %")[0])
        assert 10 <= missing <= 30
        there = 400 - 400 * (missing + 1) // 100 - 16
        assert np.array_equal(found[:there], whole[:there])
        assert (found[-8:] == 128).all()

    def test_most_of_it_missing_is_damaged(self) -> None:
        data = saved(self.photo(), "JPEG")
        with pytest.raises(BadImage, match="damaged"):
            open_image(data[: len(data) // 3])
