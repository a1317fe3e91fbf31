"""Presses in the inspector: a patch is the one at that place, a head shows its own map, and what is saved is shown."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from tests.kit.ui import event, request
from tests.ui.test_inspector import pressed
from vlm_demo.ui.tabs.inspect.inspect_events import view_patch
from vlm_demo.ui.tabs.inspect.panels.heatmap_panel import shown_map


@pytest.fixture
def inspector(page):
    """The handlers, with a page that shows “a circle, circle”, its first “circle” pressed."""
    events = page()
    events.sessions._open["a"] = pressed(1)
    return events.inspector


def session(inspector):
    return inspector.sessions.of("a")


def test_a_press_on_the_picture_finds_the_patch_there_and_a_second_one_lets_it_go(inspector):
    place = event(picture=0, at=[0.6, 0.3])
    inspector.patch(place, request())
    assert session(inspector).map_options.patch == (0, 6)
    x0, y0, x1, y1 = session(inspector).shown.answer.view.boxes[6]
    assert x0 <= 0.6 * 40 < x1 and y0 <= 0.3 * 40 < y1
    inspector.patch(place, request())
    assert session(inspector).map_options.patch is None


def test_by_keyboard_it_begins_where_it_is_hottest_and_the_arrows_move_it(inspector):
    hot = np.unravel_index(shown_map(session(inspector), 0).argmax(), (40, 40))
    inspector.patch(event(picture=0, at=None), request())
    assert session(inspector).map_options.patch == (0, view_patch(session(inspector).shown.answer.view, hot[1], hot[0]))
    session(inspector).map_options.patch = (0, 6)
    for move, patch in (((1, 0), 7), ((1, 0), None), ((0, -1), 3), ((0, -1), None)):
        before = session(inspector).map_options.patch
        inspector.patch(event(picture=0, move=list(move)), request())
        assert session(inspector).map_options.patch == (before if patch is None else (0, patch))


def test_a_place_that_the_model_does_not_see_has_no_patch_and_of_two_the_finer_one_counts(inspector):
    view = session(inspector).shown.answer.view
    assert view_patch(view, 39.9, 41) is None
    whole = np.array([[0, 0, 40, 40], *view.boxes], np.float32)
    assert view_patch(type(view)(view.image, view.size, None, view.grid, whole), 1, 1) == 1


def test_a_head_shows_its_own_map_until_it_is_pressed_again_or_all_are(inspector):
    answer = session(inspector).shown.answer
    default = shown_map(session(inspector), 0)
    answer.trace.image[1:3, 0, 0] = np.eye(16)[10]
    inspector.choose(event(head=[0, 0]), request())
    assert (shown_map(session(inspector), 0) == answer.heatmap(answer.words[1], layer=0, head=0)).all()
    assert shown_map(session(inspector), 0).argmax() != default.argmax()
    for head in ([0, 0], None):
        session(inspector).map_options.head = (0, 0)
        inspector.choose(event(head=head), request())
        assert session(inspector).map_options.head is None


@pytest.mark.parametrize(
    "nonsense",
    [{"head": [7, 0]}, {"head": [-1, 0]}, {"picture": 5}, {"block": 1}, {"colormap": "jet"}, {"method": "no such"}],
)
def test_what_does_not_exist_changes_nothing(inspector, nonsense):
    before = dict(vars(session(inspector).map_options))
    inspector.choose(event(**nonsense), request())
    assert vars(session(inspector).map_options) == before


def test_colours_and_methods_of_the_menu_are_taken(inspector):
    drawn = [inspector.choose(event(colormap=name), request())["heatmap"] for name in ("magma", "cividis")]
    first, second = (re.search(r'class="overlay" src="([^"]+)"', html)[1] for html in drawn)
    assert first != second
    session(inspector).shown.methods = {"last": None}
    assert "A teaching view." in inspector.choose(event(method="last"), request())["heatmap"]
    assert "A teaching view." not in inspector.choose(event(method=""), request())["heatmap"]


def saved(changes) -> tuple[str, bytes]:
    name, content = re.search(r'download="([^"]+)" href="data:[^,]+,([^"]+)"', changes["download"]).groups()
    return name, base64.b64decode(content)


def test_what_is_saved_is_what_is_shown(inspector):
    inspector.look(event(opacity=80, grid=True), request())
    name, content = saved(inspector.export(event(kind="npy", picture=0), request()))
    array = np.load(io.BytesIO(content), allow_pickle=False)
    assert name == "heatmap-circle.npy" and array.dtype == np.float32
    assert (array == session(inspector).shown.answer.heatmap("circle")).all()
    name, content = saved(inspector.export(event(kind="png", picture=0), request()))
    drawn = np.asarray(Image.open(io.BytesIO(content)))
    assert name == "heatmap-circle.png" and drawn.shape == (40, 40, 3) and drawn.max() > 0


def test_saving_twice_is_two_downloads_and_no_file_is_written(inspector, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    first, second = (inspector.export(event(kind="png", picture=0), request())["download"] for _ in range(2))
    assert first != second and not list(tmp_path.iterdir())


def test_another_answer_is_shown_afresh(inspector):
    inspector.choose(event(head=[0, 0]), request())
    inspector.patch(event(picture=0, at=[0.1, 0.1]), request())
    other = pressed(0).shown
    session(inspector).exchanges.append(other)
    session(inspector).show(other)
    assert session(inspector).map_options.head is None and session(inspector).map_options.patch is None
