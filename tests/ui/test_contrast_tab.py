"""The Contrast tab: texts against pictures, which model computes what, and which results are dropped."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.kit.contrast import Comparing, contrast_tab, drawn, file, similarities, table_of
from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import event, request, run
from vlm_demo.contracts import Scores
from vlm_demo.engines import offers
from vlm_demo.errors import VlmDemoError
from vlm_demo.images.open import Source
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.contrast.contrast_events import ContrastEvents
from vlm_demo.ui.tabs.contrast.contrast_table import LONGEST, MOST_PICTURES, MOST_TEXTS, TEXTS
from vlm_demo.ui.tabs.contrast.contrast_work import MAP, NO_MODEL, OTHERS, TABLE

EVIL = ("${alert(1)}", "{{x}}", "<img src=x onerror=alert(1)>", "\"'><script>alert(1)</script>")


@pytest.fixture
def tab(page: Callable[..., Events], monkeypatch: pytest.MonkeyPatch) -> Callable[..., ContrastEvents]:
    return contrast_tab(page, monkeypatch)


def test_the_chats_picture_is_compared_by_a_side_engine(tab, picture) -> None:
    clip, llava = Comparing(), Comparing("llava", scores=False)
    made = tab(clip, shared=llava)
    run(made.chat, made.chat.ask({"text": "What?", "files": [str(picture)]}, False, False, request()))
    state = drawn(made, made.shown(request()))
    html = str(state[TABLE])
    assert "The picture of your chat." in html and len(similarities(html)) == len(TEXTS)
    assert not llava.scored and clip.scored[0] == TEXTS
    # The text that fits best is looked at: of these the longest.
    best = max(TEXTS, key=len)
    assert f"Where clip finds “{best}”" in str(state[MAP]) and clip.mapped[0] == best
    assert str(state[OTHERS]).count("<button") == len(TEXTS) - 1
    assert sorted(clip.mapped) == sorted(TEXTS)
    # No ITM of clip's: no column, but a sentence, and who has one.
    assert "do they match?" not in html and "no head that reads" in html and "Ask blip2 for it" in html
    assert "Compared by" in html and "softmax over the" in html and "ITC · clip" in html


def test_the_shared_model_compares_where_it_can(tab, tmp_path) -> None:
    shared, clip = Comparing("own"), Comparing()
    made = tab(clip, shared=shared)
    made.work.service.model = "own"
    drawn(made, made.upload([file(tmp_path, "red")], request()))
    assert shared.scored and not clip.scored


def test_probabilities_are_the_softmax_over_the_texts_of_the_learned_temperature(tab, tmp_path) -> None:
    made = tab(Comparing())
    html = str(drawn(made, made.upload([file(tmp_path, "red"), file(tmp_path, "white")], request()))[TABLE])
    found = np.array(similarities(html)).reshape(len(TEXTS), 2)
    shown = [float(value) for value in re.findall(r'class="chance">([\d.]+)%', html)]
    for column in range(2):
        wanted = np.exp(found[:, column] / 0.05) / np.exp(found[:, column] / 0.05).sum()
        assert shown[column::2] == pytest.approx(100 * wanted, abs=0.06)
    assert 'data-learned="0.05"' in html


def test_a_new_text_is_compared_alone_and_selected(tab, tmp_path) -> None:
    clip = Comparing()
    made = tab(clip)
    drawn(made, made.upload([file(tmp_path, "red")], request()))
    state = drawn(made, made.reword(event(words="  a red\n square "), request()))
    assert clip.scored.count(("a red square",)) >= 1 and clip.scored.count(TEXTS) == 1
    assert "Where clip finds “a red square”" in str(state[MAP])
    number = next(reversed(table_of(made).texts))
    state = drawn(made, made.reword(event(text=number, words=""), request()))
    assert "a red square" not in str(state[TABLE]) and len(table_of(made).texts) == len(TEXTS)
    assert not [pair for pair in table_of(made).scores if pair[2] == "a red square"]


def test_the_last_text_stays_and_there_are_no_more_than_fit(tab) -> None:
    made = tab(Comparing())
    for number in range(20):
        made.reword(event(words=f"text {number} {'x' * 400}"), request())
    assert len(table_of(made).texts) == MOST_TEXTS
    assert max(map(len, table_of(made).texts.values())) == LONGEST
    for number in list(table_of(made).texts):
        made.reword(event(text=number, words=" "), request())
    assert len(table_of(made).texts) == 1


def test_a_press_chooses_picture_and_text(tab, tmp_path) -> None:
    clip = Comparing()
    made = tab(clip)
    drawn(made, made.upload([file(tmp_path, "red"), file(tmp_path, "white")], request()))
    first, second = table_of(made).pictures
    assert table_of(made).chosen is second  # the one that was added last
    state = drawn(made, made.pick(event(picture=first.key, text=3), request()))
    assert f"“{TEXTS[3]}”" in str(state[MAP]) and 'alt="Picture 1' in str(state[MAP])
    pressed = re.findall(r'data-picture="(\w+)" data-text="(\d+)"[^>]*aria-pressed="true"', str(state[TABLE]))
    assert pressed == [(first.key, "3")]
    before = len(clip.scored)
    drawn(made, made.pick(event(text=3), request()))
    assert len(clip.scored) == before  # nothing is asked twice


def test_itm_of_another_model_has_a_column_and_shows_where_they_disagree(tab, tmp_path) -> None:
    clip, blip2 = Comparing(), Comparing("blip2", itm=True, known=0.1)
    made = tab(clip, blip2)
    drawn(made, made.upload([file(tmp_path, "red"), file(tmp_path, "white")], request()))
    assert not blip2.scored
    html = str(drawn(made, made.choose(event(judge="blip2"), request()))[TABLE])
    assert blip2.scored == [TEXTS]  # for the picture that is looked at only
    assert "do they match?" in html and "ITM · blip2" in html and "10 ms a pair" in html
    # Here ITM is one less ITC: they disagree at the nearest and the farthest text.
    longest, shortest = max(TEXTS, key=len), min(TEXTS, key=len)
    assert f"ITC finds “{longest}” nearer than “{shortest}”" in html
    assert "Picture 2 is unlike what it was trained on" in html and "Good at: drawn pictures." in html
    assert "do they match?" not in str(drawn(made, made.choose(event(judge="none"), request()))[TABLE])


def test_a_model_with_its_own_itm_is_asked_once(tab, tmp_path) -> None:
    blip2 = Comparing("blip2", itm=True)
    made = tab(Comparing(), blip2)
    made.choose(event(model="blip2"), request())
    html = str(drawn(made, made.upload([file(tmp_path, "red")], request()))[TABLE])
    assert "ITC · blip2" in html and "ITM · blip2" in html and "Take this column away" not in html
    assert blip2.scored.count(TEXTS) == 1


def test_no_disagreement_is_reported_where_they_agree(tab, tmp_path, monkeypatch) -> None:
    blip2 = Comparing("blip2", itm=True)
    plain = blip2.score

    def agreeing(image: Source, texts: Sequence[str], **_: object) -> Scores:
        from dataclasses import replace

        found = plain(image, texts)
        return replace(found, matches=found.similarities)

    monkeypatch.setattr(blip2, "score", agreeing)
    made = tab(blip2)
    made.choose(event(model="blip2"), request())
    html = str(drawn(made, made.upload([file(tmp_path, "red")], request()))[TABLE])
    assert "ITM · blip2" in html and "Where they part" not in html


def test_a_model_that_is_not_offered_is_not_loaded(tab, tmp_path) -> None:
    made = tab(Comparing())
    made.choose(event(model="evil/hub-model", judge="../../etc"), request())
    drawn(made, made.upload([file(tmp_path, "red")], request()))
    assert table_of(made).model == table_of(made).judge == ""


def test_what_cannot_be_loaded_is_a_sentence_and_the_table_stays(tab, tmp_path) -> None:
    def fails(*_: object) -> FakeEngine:
        raise VlmDemoError("A part of clip can't be fetched: connect and try again.")

    made = tab()
    made.work.service.side_engines._load = fails
    html = str(drawn(made, made.upload([file(tmp_path, "red")], request()))[TABLE])
    assert "can&#39;t be fetched" in html and TEXTS[0] in html and not similarities(html)
    made.work.service.side_engines._load = lambda *_: Comparing()
    assert "can&#39;t be fetched" not in str(drawn(made, made.reword(event(words="a boat"), request()))[TABLE])


def test_nothing_that_compares_is_a_sentence(tab, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(offers, "comparers", tuple)
    made = tab()
    assert NO_MODEL in str(drawn(made, made.upload([file(tmp_path, "red")], request()))[TABLE])


def test_a_text_that_cannot_be_read_keeps_none_of_the_others(tab, tmp_path) -> None:
    made = tab(Comparing())
    drawn(made, made.upload([file(tmp_path, "red")], request()))
    made.reword(event(words="short"), request())
    html = str(drawn(made, made.reword(event(words="long " * 50), request()))[TABLE])
    assert "too long: shorten it." in html and len(similarities(html)) == len(TEXTS) + 1


def test_hiding_the_marked_tenth_is_measured(tab, tmp_path) -> None:
    """Of a picture whose right edge alone is red, where the map is hottest."""
    image = Image.new("RGB", (60, 40), "white")
    image.paste("red", (54, 0, 60, 40))
    image.save(tmp_path / "edge.png")
    made = tab(Comparing())
    drawn(made, made.upload([str(tmp_path / "edge.png")], request()))
    state = drawn(made, made.reword(event(words="a red edge"), request()))
    (hidden,) = [found for pair, found in table_of(made).hidden.items() if pair[2] == "a red edge"]
    assert hidden.whole == pytest.approx(0.1) and hidden.marked < 0.02 and hidden.elsewhere > 0.06
    assert "What is marked counts: without it the text fits less." in str(state[MAP])


def test_a_word_s_share_is_what_is_lost_without_it(tab, tmp_path) -> None:
    """Here of a red picture a text is worth 1 with the word red in it, and else its length."""
    made = tab(Comparing())
    drawn(made, made.upload([file(tmp_path, "red")], request()))
    html = str(drawn(made, made.reword(event(words="some red square"), request()))[MAP])
    found = re.findall(r'--look:([\d.]+)">(\w+) <small>([-+\d.]+)<', html)
    lost = 1 - (0.1 + len("some square") / 200)
    assert found == [("0.00", "some", "+0.000"), ("1.00", "red", f"{lost:+.3f}"), ("0.00", "square", "+0.000")]
    assert "What each word brings" not in str(drawn(made, made.reword(event(words="red"), request()))[MAP])


def test_uploads_are_read_and_their_files_deleted(tab, tmp_path) -> None:
    made = tab(Comparing())
    folder = tmp_path / "one"
    folder.mkdir()
    path = file(folder, "red")
    made.upload([path], request())
    assert not Path(path).exists() and len(table_of(made).pictures) == 1


def test_a_file_that_the_composer_holds_stays(tab, tmp_path) -> None:
    made = tab(Comparing())
    path = file(tmp_path, "red")
    made.sessions.claim(made.sessions.of("another page"), [path])
    made.upload([path], request())
    assert Path(path).exists()


def test_what_is_no_picture_is_a_sentence(tab, tmp_path) -> None:
    made = tab(Comparing())
    (tmp_path / "no.png").write_text("no picture")
    html = str(drawn(made, made.upload([str(tmp_path / "no.png")], request()))[TABLE])
    assert 'role="alert"' in html and not table_of(made).pictures


def test_there_is_room_for_eight_pictures(tab, tmp_path) -> None:
    made = tab(Comparing())
    paths = [file(tmp_path, f"rgb({20 * n},0,0)", str(n)) for n in range(MOST_PICTURES + 1)]
    html = str(drawn(made, made.upload(paths, request()))[TABLE])
    assert len(table_of(made).pictures) == MOST_PICTURES and "take one off first" in html
    made.remove(event(picture=table_of(made).pictures[0].key), request())
    assert len(table_of(made).pictures) == MOST_PICTURES - 1


def test_examples_stand_in_until_there_is_a_picture(tab, tmp_path) -> None:
    from vlm_demo.ui.start import examples

    made = tab(Comparing(), examples=examples(with_ocr=False))
    html = str(drawn(made, made.shown(request()))[TABLE])
    assert "Examples, until you add a picture" in html and len(table_of(made).pictures) == 3
    html = str(drawn(made, made.upload([file(tmp_path, "red")], request()))[TABLE])
    assert "The pictures added here." in html and len(table_of(made).pictures) == 1


def test_clearing_the_chat_takes_its_pictures_and_maps_off_the_table(tab, picture, tmp_path) -> None:
    made = tab(Comparing())
    run(made.chat, made.chat.ask({"text": "What?", "files": [str(picture)]}, False, False, request()))
    drawn(made, made.shown(request()))
    drawn(made, made.upload([file(tmp_path, "red")], request()))
    table = made.sessions.of("a").tabs["contrast"]
    of_chat = table.pictures[0].key
    drawn(made, made.pick(event(picture=of_chat), request()))
    assert [pair for pair in table.heats if pair[1] == of_chat]
    made.chat.clear(request())
    assert [shown.origin for shown in table.pictures] == ["own"]
    for found in (table.scores, table.heats, table.hidden, table.leave_one_out):
        assert not [pair for pair in found if pair[1] == of_chat]
    assert of_chat not in table.images


def test_asking_again_about_the_same_picture_keeps_its_scores(tab, picture) -> None:
    made = tab(Comparing())
    run(made.chat, made.chat.ask({"text": "What?", "files": [str(picture)]}, False, False, request()))
    drawn(made, made.shown(request()))
    scores = dict(table_of(made).scores)
    made.chat.retry(False, False, request())
    made.shown(request())
    assert scores and table_of(made).scores == scores


def test_what_was_computed_after_the_page_was_closed_is_forgotten(tab, tmp_path) -> None:
    clip = Comparing()
    made = tab(clip)
    made.upload([file(tmp_path, "red")], request())
    session, steps = made.sessions.of("a"), made.compute(request())
    next(steps)
    made.sessions.close("a")
    list(steps)
    assert session.visitor in clip.forgotten and len(clip.scored) <= 1


def test_text_of_a_person_and_of_a_model_is_text(tab, tmp_path) -> None:
    made = tab(Comparing(), Comparing("blip2", itm=True))
    made.choose(event(judge="blip2"), request())
    for text in EVIL:
        made.reword(event(words=text), request())
    state = drawn(made, made.upload([file(tmp_path, "red", "x" * 20)], request()))
    made.pick(event(text=len(TEXTS) + 2), request())
    state |= drawn(made, made.pick(event(text=len(TEXTS) + 3), request()))
    html = "".join(str(state[part]) for part in (TABLE, MAP, OTHERS))
    assert "<script>" not in html and "<img src=x" not in html and "&lt;script&gt;" in html
    # Handlebars and template literals are only dangerous in an html_template: here they come as they were typed.
    assert EVIL[0] in html and EVIL[1] in html


def test_no_html_template_of_the_tab_holds_a_value() -> None:
    from vlm_demo.engines.registry import ModelRegistry
    from vlm_demo.ui import layout

    built = layout.build(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"), [])
    components = [
        part for part in built.config["components"] if str(part["props"].get("elem_id")).startswith("contrast-")
    ]
    templates = {part["props"].get("html_template") for part in components if part["type"] == "html"}
    assert templates == {"${value}"}


def test_the_map_is_saved_as_a_picture(tab, tmp_path) -> None:
    import base64
    import io

    made = tab(Comparing())
    drawn(made, made.upload([file(tmp_path, "red")], request()))
    link = str(made.export(request())["download"])
    name, content = re.search(r'download="([^"]+)" href="data:image/png;base64,([^"]+)"', link).groups()
    assert re.fullmatch(r"relevancy-[a-z-]+\.png", name)
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (60, 40)
