"""Which kinds of picture files are opened, and that no other one is handed to a program that runs it."""

import ast
import contextlib
import io
from pathlib import Path

import pytest
from PIL import EpsImagePlugin, Image

import vlm_demo
from vlm_demo.errors import BadImage
from vlm_demo.images.formats import formats
from vlm_demo.images.open import open_image

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
PACKAGE = Path(vlm_demo.__file__).parent


class Run(Exception):
    """Ghostscript was called."""


@pytest.fixture
def ghostscript(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise Run

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)


@pytest.mark.usefixtures("ghostscript")
def test_postscript_named_jpg_never_reaches_ghostscript(tmp_path: Path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(POSTSCRIPT)
    with pytest.raises(Run):  # what Pillow does when it is left to itself
        Image.open(path).load()
    for source in (path, POSTSCRIPT, io.BytesIO(POSTSCRIPT)):
        with pytest.raises(BadImage, match="not a picture"):
            open_image(source)


def test_formats_are_those_that_are_known_to_this_pillow() -> None:
    assert {"PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO"} <= set(formats())
    assert set(formats()) <= set(Image.OPEN)
    assert not {"EPS", "PSD", "WMF", "FPX", "MIC"} & set(formats())


def test_a_format_that_is_registered_later_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "OPEN", {name: opener for name, opener in Image.OPEN.items() if name != "HEIF"})
    assert "HEIF" not in formats()
    Image.OPEN["HEIF"] = (lambda *_: None, None)
    assert "HEIF" in formats()


def test_every_picture_is_opened_with_the_list() -> None:
    """In all that a user runs; training reads pictures that were drawn or chosen for it."""
    found = 0
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "training"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open"):
                found += 1
                assert "formats" in {keyword.arg for keyword in node.keywords}, f"{path}:{node.lineno}"
    assert found


def test_a_damaged_fax_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((200, 100), 90).convert("1").save(buffer, "TIFF", compression="group4")
    data = bytearray(buffer.getvalue())
    data[60:200] = bytes(range(100, 240))
    with contextlib.suppress(BadImage):
        open_image(bytes(data))
    assert capfd.readouterr() == ("", "")
