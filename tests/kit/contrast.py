"""The Contrast tab without a browser, and a stand-in for the models that compare."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import request
from vlm_demo.contracts import Scores, StageEvent, View
from vlm_demo.contracts.engine import Capabilities
from vlm_demo.contracts.events import CompareFacts
from vlm_demo.engines import offers
from vlm_demo.engines.offers import Comparer
from vlm_demo.errors import BadQuestion
from vlm_demo.images.open import Source
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.contrast.contrast_events import ContrastEvents
from vlm_demo.ui.tabs.contrast.contrast_table import ContrastTable, softmax
from vlm_demo.ui.tabs.contrast.contrast_work import MAP, OTHERS, TABLE


class Comparing(FakeEngine):
    """The more of a picture is red, the nearer it is to texts with that word; the rest follows their length."""

    def __init__(self, name: str = "clip", itm: bool = False, scores: bool = True, known: float | None = None) -> None:
        super().__init__(name)
        self.itm, self.known, self.scored, self.mapped = itm, known, [], []
        self.capabilities = Capabilities(True, True, scores, True, True)

    def score(self, image: Source, texts: Sequence[str], **_: object) -> Scores:
        if any(len(text) > 200 for text in texts):
            raise BadQuestion("The text is too long: shorten it.")
        self.scored.append(tuple(texts))
        view = self._view(image)
        red = float((np.asarray(view.image).astype(int) @ [1, -1, 0] > 100).mean())
        similar = tuple(red if "red" in text else 0.1 + len(text) / 200 for text in texts)
        matches = tuple(1 - value for value in similar) if self.itm else None
        stages = (StageEvent("match", 0.01 * len(texts), CompareFacts((1, 1), len(texts), together=True)),)
        chances = tuple(softmax(similar, 0.05))
        return Scores(tuple(texts), chances, similar, 0.05, matches, view, stages if self.itm else (), self.name)

    def relevancy(self, image: Source, text: str, **_: object) -> np.ndarray:
        self.mapped.append(text)
        return super().relevancy(image, text) * np.linspace(0, 1, self._view(image).size[0], dtype=np.float32)

    def in_distribution(self, view: View) -> float | None:
        return self.known


def contrast_tab(page: Callable[..., Events], monkeypatch: pytest.MonkeyPatch) -> Callable[..., ContrastEvents]:
    """A function that builds the tab of a page whose shared model writes, and the side engines."""
    known = (Comparer("clip", False, "photographs"), Comparer("blip2", True, "drawn pictures"))
    monkeypatch.setattr(offers, "comparers", lambda: known)

    def build(*side_engines: FakeEngine, shared: FakeEngine | None = None, examples: Sequence = ()) -> ContrastEvents:
        engines = {engine.name: engine for engine in side_engines}
        events = page(shared or Comparing("llava", scores=False), lambda name, *_: engines[name])
        parts = {name: name for name in (TABLE, MAP, OTHERS)}
        made = ContrastEvents(events.sessions, events.service, parts, "download", list(examples))
        made.chat = events
        return made

    return build


def drawn(tab: ContrastEvents, changes: dict) -> dict:
    """What the tab shows when all that a press has left to be computed is there."""
    state = dict(changes)
    for found in tab.compute(request()):
        state |= found
    return state


def table_of(tab: ContrastEvents) -> ContrastTable:
    return tab.table_of(tab.sessions.of("a"))


def file(folder: Path, colour: str, name: str = "") -> str:
    path = folder / f"{name or colour}.png"
    Image.new("RGB", (60, 40), colour).save(path)
    return str(path)


def similarities(html: str) -> list[float]:
    return [float(value) for value in re.findall(r'data-similarity="([-\d.]+)"', html)]
