"""What the model sees: what is cut away, padded or not read is where the view says, and drawn only if there is any."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vlm_demo.contracts import View
from vlm_demo.ui.tabs.inspect.panels import model_view_panel


def view(size: tuple[int, int], box: tuple[float, float, float, float], processed: tuple[int, int] = (40, 40)) -> View:
    """4 × 4 patches of 10 pixels over ``box`` of an upload, in a processed picture of (width, height)."""
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) / 4, (y1 - y0) / 4
    boxes = [
        (x0 + j * across, y0 + i * down, x0 + (j + 1) * across, y0 + (i + 1) * down) for i in range(4) for j in range(4)
    ]
    pixels = np.zeros((*processed[::-1], 3), np.uint8)
    return View(Image.new("RGB", size), size, pixels, (4, 4), np.array(boxes, np.float32))


def test_a_centre_crop_is_what_is_missing_of_the_upload():
    made = view((200, 100), (50, 0, 150, 100))
    fitted = model_view_panel.fit(made, (200, 100))
    assert fitted.seen == (50, 0, 150, 100) and fitted.shrink == (2.5, 2.5)
    assert fitted.upload == (-20, 0, 60, 40)  # the upload reaches over the processed picture: no padding in it
    drawn = model_view_panel._pair(made, (200, 100), 0)
    assert "cut away" in drawn and "padding" not in drawn
    assert "M50.0 0.0H150.0V100.0H50.0Z" in drawn


def test_padding_is_what_lies_beyond_the_upload_in_the_processed_picture():
    made = view((200, 100), (0, -50, 200, 150))
    fitted = model_view_panel.fit(made, (200, 100))
    assert fitted.upload == (0, 10, 40, 30)
    drawn = model_view_panel._pair(made, (200, 100), 0)
    assert "padding" in drawn and "cut away" not in drawn
    assert "M0.0 10.0H40.0V30.0H0.0Z" in drawn


def test_an_edge_that_no_patch_reads_is_shown():
    drawn = model_view_panel._pair(view((100, 100), (0, 0, 100, 100), (42, 40)), (100, 100), 0)
    assert "not read" in drawn and "M0.0 0.0H40.0V40.0H0.0Z" in drawn


def test_a_picture_that_is_seen_whole_is_not_hatched():
    assert "hatched:" not in model_view_panel._pair(view((100, 100), (0, 0, 100, 100)), (100, 100), 0)


@pytest.mark.parametrize(("size", "sentence"), [((400, 400), "lower than about 70"), ((10, 10), "enlarged 4.0 times")])
def test_what_is_shrunk_away_counts_in_the_uploads_own_pixels(size, sentence):
    made = view((100, 100), (0, 0, 100, 100))  # shrunk for the page: the upload itself was ``size``
    assert sentence in model_view_panel._pair(made, size, 0)


def test_a_changed_shape_is_reported():
    drawn = model_view_panel._pair(view((200, 100), (0, 0, 200, 100)), (200, 100), 0)
    assert "2.00 to 1 are now equal" in drawn
