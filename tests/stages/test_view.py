"""Opening uploads and placing patches, against pictures whose pixels are known."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from tests.kit.pictures import saved
from vlm_demo.contracts import View
from vlm_demo.errors import BadImage
from vlm_demo.images.open import open_image
from vlm_demo.models.patch_geometry import Cut, whole
from vlm_demo.stages.view import ViewMaker

QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)


def picture(width: int = 40, height: int = 20) -> Image.Image:
    """Red, green over blue, yellow."""
    return Image.fromarray(QUARTERS).resize((width, height), Image.Resampling.NEAREST)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b""))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


class TestRefused:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "0 bytes"),
            (b"GIF is not what this is", "not a picture"),
            (b"%PDF-1.7 ...", "PDF"),
            (saved(picture(400, 300), "PNG")[:600], "damaged"),
            (saved(picture(400, 300), "JPEG")[:900], "damaged"),
            (png_header(20_000, 10_000), "178 megapixels"),
            (png_header(60_000, 60_000), "178 megapixels"),
        ],
        ids=["empty", "text", "pdf", "cut png", "cut jpeg", "200 megapixels", "3600 megapixels"],
    )
    def test_one_sentence_says_what_is_wrong(self, data: bytes, message: str) -> None:
        with pytest.raises(BadImage) as caught:
            open_image(data)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(".")

    def test_a_missing_file_and_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="no file"):
            open_image(tmp_path / "none.png")
        with pytest.raises(BadImage, match="folder"):
            open_image(tmp_path)
        with pytest.raises(BadImage):
            open_image("name\0with a null byte.png")

    def test_something_that_is_no_source(self) -> None:
        with pytest.raises(BadImage, match="dict"):
            open_image({"image": 1})

    def test_the_limit_is_ours_and_not_pils_global(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        with pytest.raises(BadImage, match="400 megapixels"):
            open_image(png_header(20_000, 20_000))

    def test_a_picture_object_of_too_many_pixels(self) -> None:
        with pytest.raises(BadImage, match="megapixels"):
            open_image(Image.new("1", (20_000, 9_000)))


class TestAnswered:
    @pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
    def test_content_decides_and_never_the_name(self, kind: str, tmp_path: Path) -> None:
        options = {"lossless": True} if kind == "WEBP" else {}
        path = tmp_path / "photo.txt"
        path.write_bytes(saved(picture(), kind, **options))
        image, _ = open_image(path)
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), np.asarray(picture()))

    def test_bytes_file_objects_and_pictures_are_the_same(self) -> None:
        data = saved(picture(), "PNG")
        for source in (data, bytearray(data), io.BytesIO(data), Image.open(io.BytesIO(data)), picture()):
            assert np.array_equal(np.asarray(open_image(source)[0]), np.asarray(picture()))

    def test_the_callers_picture_is_copied(self) -> None:
        given = picture()
        image, _ = open_image(given)
        given.putpixel((0, 0), (9, 9, 9))
        assert image.getpixel((0, 0)) == (255, 0, 0)

    def test_one_pixel(self) -> None:
        assert open_image(saved(Image.new("RGB", (1, 1), "red"), "PNG"))[0].size == (1, 1)

    def test_cmyk(self) -> None:
        image, _ = open_image(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
        red, green, blue = image.getpixel((4, 4))
        assert red > 200 and green < 60 and blue < 60

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_sixteen_bit_grey_keeps_its_brightness(self, kind: str) -> None:
        ramp = np.linspace(0, 65535, 256, dtype=np.uint16)[None].repeat(4, 0)
        image, _ = open_image(saved(Image.fromarray(ramp), kind))
        assert np.abs(np.asarray(image)[0, :, 0].astype(int) - np.arange(256)).max() <= 1

    def test_mode_i_holds_sixteen_or_eight_bit(self) -> None:
        wide = Image.fromarray(np.array([[0, 32896, 65535]], np.int32))
        narrow = Image.fromarray(np.array([[0, 128, 255]], np.int32))
        for image in (wide, narrow):
            assert np.asarray(open_image(image)[0])[0, :, 0].tolist() == [0, 128, 255]

    def test_transparency_lies_on_white(self) -> None:
        clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
        clear.putpixel((0, 0), (255, 0, 0, 255))
        for data in (saved(clear, "PNG"), saved(clear.convert("LA"), "PNG"), saved(clear.quantize(4), "PNG")):
            image, notes = open_image(data)
            assert image.getpixel((3, 3)) == (255, 255, 255)
            assert any("white" in note for note in notes)

    def test_palette_with_a_transparent_colour(self) -> None:
        image = picture().quantize(8)
        transparent = image.getpixel((0, 0))
        opened, _ = open_image(saved(image, "PNG", transparency=transparent))
        assert opened.getpixel((0, 0)) == (255, 255, 255)
        assert opened.getpixel((39, 19)) == (255, 255, 0)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_rotation_is_undone(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        undo = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270,
        }
        held = picture().transpose(undo[orientation]) if orientation > 1 else picture()
        image, notes = open_image(saved(held, "PNG", exif=exif))
        assert np.array_equal(np.asarray(image), np.asarray(picture()))
        assert any("upright" in note for note in notes) == (orientation > 1)

    def test_one_bit_tiff(self) -> None:
        image, _ = open_image(saved(picture().convert("1"), "TIFF", compression="group4"))
        assert image.mode == "RGB" and image.size == (40, 20)

    def test_the_first_frame_of_an_animation_with_a_note(self) -> None:
        frames = [picture(), Image.new("RGB", (40, 20), "black")]
        image, notes = open_image(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
        assert image.getpixel((0, 0)) == (255, 0, 0)
        assert "first of 2 frames" in notes[0]

    def test_an_animation_whose_tail_is_missing_still_shows_its_first_frame(self) -> None:
        frames = [picture(200, 200), Image.effect_noise((200, 200), 90).convert("RGB")]
        data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
        image, _ = open_image(data[: len(data) // 2])
        assert image.getpixel((0, 0)) == (255, 0, 0)

    @pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the tags that are cut
    @pytest.mark.parametrize("kind", ["GIF", "TIFF"])
    def test_wherever_it_is_cut_after_its_first_frame_there_is_a_note(self, kind: str) -> None:
        frames = [picture(9, 9), *(Image.effect_noise((9, 9), 90 + i).convert("RGB") for i in range(2))]
        loop = {"loop": 0} if kind == "GIF" else {}
        data, one = (saved(frames[0], kind, save_all=True, append_images=more, **loop) for more in (frames[1:], []))
        for cut in range(len(one) + 1, len(data) + 1):
            image, notes = open_image(data[:cut])
            assert image.getpixel((0, 0)) == (255, 0, 0)
            assert notes and re.search(r"Only the first (of [23] frames|frame) is shown", notes[0]), cut

    @pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
    def test_the_callers_animation_stays_where_it_is_and_as_it_is(self, kind: str) -> None:
        colours = ["red", "lime", "blue"]
        frames = [Image.new("RGB", (8, 8), colour) for colour in colours]
        options = {"GIF": {"loop": 0}, "WEBP": {"lossless": True}}.get(kind, {})
        given = Image.open(io.BytesIO(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)))
        assert open_image(given)[1] == ("Only the first frame is shown to the model.",)
        given.seek(1)
        given.paste("yellow", (0, 0, 2, 2))
        before = given.tobytes()
        image, notes = open_image(given)
        assert given.tell() == 1 and given.tobytes() == before
        assert image.getpixel((0, 0)) == (255, 255, 0) and image.getpixel((5, 5)) == (0, 255, 0)
        assert notes == ("Only frame 2 is shown to the model.",)

    @pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
    def test_there_is_no_note_on_frames_where_there_is_one(self, kind: str) -> None:
        data = saved(picture(), kind)
        assert open_image(data)[1] == open_image(Image.open(io.BytesIO(data)))[1] == ()


def processor(kind: str, size: int = 48) -> object:
    box = {"height": size, "width": size}
    plain = {"do_normalize": False, "resample": Image.Resampling.BILINEAR}
    return {
        "squash": CLIPImageProcessorPil(size=box, do_center_crop=False, **plain),
        "crop": CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=box, **plain),
        "crop of less": CLIPImageProcessorPil(
            size={"shortest_edge": size + 9}, crop_size={"height": size, "width": size}, **plain
        ),
        "crop of more": CLIPImageProcessorPil(
            size={"shortest_edge": size - 9}, crop_size={"height": size, "width": size}, **plain
        ),
        "pad": LlavaImageProcessorPil(size=box, do_pad=True, do_center_crop=False, **plain),
        "siglip": SiglipImageProcessorPil(size=box, **plain),
    }[kind]


def by(grid_of: Callable[[int, int], tuple[int, int]]) -> Callable[[object, Image.Image], Cut]:
    """The way in which families of one tile a picture cut it."""
    return partial(whole, grid_of=grid_of)


def seen(kind: str, image: Image.Image, patch: int = 12) -> View:
    return ViewMaker(processor(kind), by(lambda height, width: (height // patch, width // patch)))(image)


SIZES = [(300, 200), (200, 300), (120, 120), (37, 61), (5, 4), (1000, 90)]


class TestPatches:
    @pytest.mark.parametrize("kind", ["squash", "crop", "crop of less", "crop of more", "pad", "siglip"])
    @pytest.mark.parametrize("size", SIZES)
    def test_each_patch_shows_what_its_box_covers(self, kind: str, size: tuple[int, int]) -> None:
        """A ramp in x and y: a patch's mean shows which part of the upload the processor put there."""
        width, height = size
        x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
        ramp = Image.fromarray((np.stack([x, y, np.ones_like(x)], -1) * 255).astype(np.uint8))
        view = seen(kind, ramp)
        rows, columns = view.grid
        patches = view.processed.reshape(rows, 12, columns, 12, 3).mean((1, 3)).reshape(-1, 3) / 255
        whole = ((view.boxes[:, :2] >= 0) & (view.boxes[:, 2:] <= (width, height))).all(1)
        if kind in ("squash", "siglip", "crop", "crop of less"):
            assert whole.all()
        centres = (view.boxes[:, :2] + view.boxes[:, 2:]) / 2 / (width, height)
        # Resampling blurs at the borders of tiny pictures; a wrong offset or scale would be several times this.
        tolerance = 0.02 + 0.6 / min(size)
        assert np.abs(patches[whole, :2] - centres[whole]).max(initial=0) < tolerance

    def test_a_squash_covers_the_whole_upload(self) -> None:
        view = seen("squash", picture(500, 240))
        assert view.grid == (4, 4)
        assert view.boxes[0].tolist() == [0, 0, 125, 60]
        assert view.boxes[-1].tolist() == [375, 180, 500, 240]
        assert view.notes == ()
        assert view.boxes.dtype == np.float32

    def test_a_crop_notes_what_is_lost(self) -> None:
        view = seen("crop", picture(480, 240))
        assert view.boxes[0].tolist() == [120, 0, 180, 60]
        assert view.notes == ("The model does not see 120 pixels at the left and 120 pixels at the right.",)

    def test_padding_lies_outside_the_upload(self) -> None:
        view = seen("pad", picture(240, 120))
        assert view.boxes[0].tolist() == [0, -60, 60, 0]
        assert view.notes == ()

    def test_pixel_values_are_the_processors_own(self) -> None:
        made = CLIPImageProcessorPil(size={"height": 48, "width": 48}, do_center_crop=False)
        view = ViewMaker(made, by(lambda height, width: (4, 4)))(picture(300, 200))
        assert (view.pixel_values == made(images=picture(300, 200), return_tensors="pt")["pixel_values"]).all()

    def test_the_processed_picture_is_the_pixels_without_the_normalisation(self) -> None:
        made = CLIPImageProcessorPil(size={"height": 48, "width": 48}, do_center_crop=False)
        view = ViewMaker(made, by(lambda height, width: (4, 4)))(picture(300, 200))
        resized = np.asarray(picture(300, 200).resize((48, 48), Image.Resampling.BICUBIC)).astype(int)
        assert view.processed.shape == (48, 48, 3) and view.processed.dtype == np.uint8
        assert np.abs(view.processed - resized).max() <= 1

    def test_one_pixel_is_a_picture(self) -> None:
        view = seen("crop", Image.new("RGB", (1, 1), "red"))
        assert view.boxes.shape == (16, 4)

    def test_a_thread_of_pixels_is_refused_before_it_fills_the_memory(self) -> None:
        with pytest.raises(BadImage, match="elongated"):
            seen("crop", Image.new("RGB", (1, 200_000)))

    @pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (1280, 4)])
    def test_where_padding_would_leave_less_than_a_pixel_it_is_refused(self, size: tuple[int, int]) -> None:
        with pytest.raises(BadImage, match=f"{size[0]} × {size[1]} pixels, too elongated"):
            seen("pad", Image.new("RGB", size, "red"))
        assert seen("squash", Image.new("RGB", size, "red")).processed[24, 24].tolist() == [255, 0, 0]


class TestLarge:
    """With small limits, so that small pictures are large for the image processor."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("GIVEN_PIXELS", "PADDED_PIXELS"):
            monkeypatch.setattr(f"vlm_demo.stages.view.{name}", 40_000)
        monkeypatch.setattr("vlm_demo.stages.view.AIMED_PIXELS", 20_000)

    @pytest.mark.parametrize("kind", ["squash", "crop", "pad", "siglip"])
    @pytest.mark.parametrize("size", [(701, 300), (300, 701)])
    def test_boxes_and_pixels_are_those_of_the_whole_picture(self, kind: str, size: tuple[int, int]) -> None:
        view = seen(kind, picture(*size))
        with pytest.MonkeyPatch.context() as patch:
            for name in ("GIVEN_PIXELS", "PADDED_PIXELS"):
                patch.setattr(f"vlm_demo.stages.view.{name}", 10**9)
            whole = seen(kind, picture(*size))
        assert view.size == size == view.image.size and max(view.given_size) < max(size)
        # A pixel of what was given is five or six of the picture's; padding is in whole ones.
        assert np.abs(view.boxes - whole.boxes).max() < 6
        assert np.abs(view.processed.astype(int) - whole.processed).mean() < 6
        assert len(view.notes) == len(whole.notes)

    def test_a_square_of_padding_counts(self) -> None:
        assert seen("pad", picture(400, 60)).given_size == (134, 20)
        assert seen("squash", picture(400, 60)).given_size == (400, 60)
