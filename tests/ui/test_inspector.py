"""The inspector's heatmap tab shows the map and figures of the library's `Answer`, and computes none itself."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from vlm_demo.contracts import Answer, HeatmapSettings, Memory, Prompt, Timings, Token, Trace, View
from vlm_demo.explain.methods import RECORDED
from vlm_demo.runtime.detokenizer import words_of
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.inspect import panels

GRID = (4, 4)
BOXES = np.array([(j * 10, i * 10, j * 10 + 10, i * 10 + 10) for i in range(4) for j in range(4)], np.float32)


def pressed(word: int) -> Session:
    """“a circle, circle”, with its word ``word`` pressed.

    The halves of the first “circle” look at different patches with different force; its comma looks elsewhere, harder.
    """
    texts = ["a", " cir", "cle", ",", " circle"]
    image = np.full((len(texts), 1, 1, 16), 0.01, np.float16)
    for step, (patch, weight) in enumerate([(0, 0.1), (5, 0.2), (6, 0.05), (15, 0.8), (9, 0.4)]):
        image[step, :, :, patch] = weight
    tokens = tuple(Token(text, i, 0.5) for i, text in enumerate(texts))
    nothing = np.zeros(image.shape[:3], np.float16)
    answer = Answer(
        text="".join(texts),
        tokens=tokens,
        words=words_of(tokens),
        prompt=Prompt("", (), 0, (), ()),
        views=(View(Image.new("RGB", (40, 40)), (40, 40), None, GRID, BOXES),),
        ocr=None,
        timings=Timings(),
        memory=Memory(0, 0),
        model="made up",
        trace=Trace(image, nothing, nothing, (16,), 0, HeatmapSettings()),
        drawer=RECORDED,
    )
    exchange = ChatTurn("What is it?", False, False)
    exchange.complete(answer)
    session = Session([exchange])
    session.show(exchange, word)
    return session


def test_the_pages_map_is_the_librarys() -> None:
    session = pressed(1)
    panels.heatmap_panel.draw(session)
    (drawn,) = session.maps.values()
    assert (drawn == session.shown.answer.heatmap("circle")).all()
    assert drawn[35, 35] < 0.1  # where the comma's step looked


def test_a_word_that_is_there_twice_is_the_one_that_was_pressed() -> None:
    session = pressed(2)
    panels.heatmap_panel.draw(session)
    (drawn,) = session.maps.values()
    assert drawn[25, 15] > 0.8 and drawn[15, 15] < 0.1


def test_the_share_of_attention_is_of_the_same_steps() -> None:
    share = re.search(r"(\d+)% of its attention on the picture", panels.heatmap_panel.draw(pressed(1)))
    # 15 patches of 0.01 and one of 0.2 or 0.05; with the comma's step it would be 50.
    assert share and int(share[1]) == 28


def test_the_colours_have_a_scale_with_a_tick_at_the_even_spread():
    session = pressed(0)  # of 16 patches one has 0.1 and each other 0.01
    drawn = panels.heatmap_panel.scale(session, 0)
    assert re.findall(r"<span>([^<]+)</span>", drawn) == ["4.0%", "even 6.2%", "40%"]
    assert float(re.search(r"left:([\d.]+)%", drawn)[1]) == 6.2  # (1/16 - 0.04) / (0.4 - 0.04)
    assert 'class="scale"' in panels.heatmap_panel.draw(session)
    session.map_options.head = (0, 0)
    assert panels.heatmap_panel.scale(session, 0) == drawn
    session.shown.answer.trace.image[:] = 0.01  # no patch is hotter than another: there is no map to read
    session.maps.clear()
    assert panels.heatmap_panel.scale(session, 0) == ""


def test_a_map_that_the_model_computed_has_colours_without_figures():
    session = pressed(0)
    session.shown.methods, session.map_options.method = {"occlusion": None}, "occlusion"
    assert panels.heatmap_panel.scale(session, 0, drawn=False) == ""
    drawn = panels.heatmap_panel.scale(session, 0)
    assert "%" not in re.sub(r"<[^>]+>", "", drawn) and "least" in drawn and "<b" not in drawn
