"""A moving picture stands still in the composer, at the frame that is asked about."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.kit.browsing import open_page, upload

SHOWN = """async ([red, green, blue]) => {
  const image = document.querySelector('#composer .thumbnail-item img');
  if (!image?.src.startsWith('data:')) return false;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0, 1, 1);
  const seen = pen.getImageData(0, 0, 1, 1).data;
  return [red, green, blue].every((value, i) => Math.abs(value - seen[i]) < 8);
}"""


def test_the_thumbnail_shows_the_chosen_frame_and_does_not_play(visitor: Page, app, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (120, 90), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "three.gif", save_all=True, append_images=frames[1:], duration=40, loop=0)
    open_page(visitor, app.url)
    upload(visitor, tmp_path / "three.gif")
    visitor.wait_for_function(SHOWN, arg=[255, 0, 0])
    visitor.get_by_label("Frame (of 3)").fill("3")
    visitor.wait_for_function(SHOWN, arg=[0, 0, 255])
