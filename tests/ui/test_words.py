"""Which words used a patch, and what their attention rested on: the trace's own weights, ranked."""

from __future__ import annotations

import re

import numpy as np

from tests.ui.test_inspector import pressed
from vlm_demo.ui.tabs.inspect.panels import heatmap_panel, word_buttons


def test_the_words_of_a_patch_are_ranked_by_their_weight_on_it():
    session = pressed(0)
    session.map_options.patch = (0, 5)  # where the second half of the first “circle” looked
    expected = [0.01, (0.01 + 0.2) / 2, 0.01]  # “a”, both halves of “circle,” without its comma, “circle”
    assert np.allclose(word_buttons.on_patch(session), expected, atol=1e-4)
    listed = re.findall(r'class="link"[^>]*data-word="(\d)"', word_buttons.used(session))
    assert listed == ["1", "0", "2"]
    assert "Row 2, column 2" in word_buttons.used(session)


def test_a_pressed_head_answers_for_itself():
    session = pressed(0)
    session.map_options.patch = (0, 5)
    session.shown.answer.trace.image[:, 0, 0, 5] = [0.5, 0.0, 0.0, 0.0, 0.25]
    session.map_options.head = (0, 0)
    assert np.allclose(word_buttons.on_patch(session), [0.5, 0.0, 0.25])


def test_the_pressed_patch_is_outlined_in_the_picture_and_no_other():
    session = pressed(0)
    assert "<rect" not in heatmap_panel.draw(session)
    session.map_options.patch = (0, 6)
    assert '<rect x="20.0" y="10.0" width="10.0" height="10.0"/>' in heatmap_panel.draw(session)


def test_every_word_shows_how_its_attention_was_divided():
    drawn = word_buttons.shares(pressed(1))
    told = re.findall(r'title="picture ([^,]+), other text ([^,]+), first token ([^"]+)"', drawn)
    assert [picture for picture, _, _ in told] == ["25%", "28%", "55%"]
    assert re.findall(r'data-word="(\d)" aria-pressed="true"', drawn) == ["1"]
