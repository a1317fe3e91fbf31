"""What the page's tests share: a picture, and events without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.kit.fake_engine import FakeEngine
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui.components.page_components import PageComponents
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.chat.transcript import Example


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An upload where Gradio would put it: in its own folder."""
    image = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(image).ellipse((40, 40, 120, 120), fill="red")
    path = tmp_path / "upload" / "picture.png"
    path.parent.mkdir()
    image.save(path)
    return path


@pytest.fixture
def page():
    """Builds events around an engine; the parts of the page are their names."""

    def build(pipe: FakeEngine | None = None, load=None, examples: list[Example] = ()) -> Events:
        parts = PageComponents(
            **({name: name for name in PageComponents.__dataclass_fields__} | {"examples": list(examples)})
        )
        return Events(ModelRegistry(pipe or FakeEngine(), load or (lambda *_: FakeEngine()), "llava"), parts)

    return build
