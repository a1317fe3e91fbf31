"""The conversation and the inspector as HTML: nothing that people, pictures or models write becomes markup."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from tests.kit.fake_engine import FakeEngine
from vlm_demo.contracts import LEVELS, BridgeInfo, Grounding, OcrResult, OcrWord, Segment, Shares, StageEvent
from vlm_demo.contracts.engine import Request
from vlm_demo.contracts.events import BridgeFacts
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.chat import transcript
from vlm_demo.ui.tabs.inspect import panels

EVIL = "<img src=x onerror=alert(1)>\"'&amp;<image></s>"


def answered(picture, question: str = "What is this?", text: str | None = None, **options) -> ChatTurn:
    exchange = ChatTurn(question, options.get("ocr", False), False, (picture.read_bytes(),), ("p.png",), ("data:,",))
    (*_, answer) = FakeEngine(answer=text).stream(Request(exchange.pictures, question, **options))
    exchange.complete(answer)
    return exchange


def test_question_and_answer_are_escaped(picture):
    exchange = answered(picture, EVIL, EVIL)
    for drawn in (
        transcript.conversation(Session([exchange]), []),
        transcript.live(Session([replace(exchange, state="running")])),
    ):
        assert "<img src=x" not in drawn and "<image>" not in drawn and "</s>" not in drawn


def test_problem_and_outside_sentences_are_escaped():
    failed = ChatTurn(EVIL, False, False, state="failed", problem=EVIL)
    assert "<img src=x" not in transcript.conversation(Session([failed]), [])


def test_every_tab_of_the_inspector_is_escaped(picture):
    exchange = answered(picture, EVIL, ocr=True)
    prompt = replace(exchange.answer.prompt, text=EVIL, segments=(Segment("ocr", EVIL, 0, 3),))
    view = replace(exchange.answer.view, notes=(EVIL,))
    read = OcrResult(EVIL, (OcrWord(EVIL, (0, 0, 9, 9), 90.0),), 0.1)
    exchange.answer = replace(exchange.answer, prompt=prompt, views=(view,), ocrs=(read,), ocr=read, model=EVIL)
    for tab in (panels.model_view_panel, panels.prompt_panel, panels.ocr_panel, panels.stages_panel):
        assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", tab.draw(exchange)), tab.__name__


def test_words_are_buttons_in_the_order_of_the_text(picture):
    exchange = answered(picture, text="a red circle, and a star.")
    drawn = transcript.conversation(Session([exchange]), [])
    pressable = [html.unescape(word) for word in re.findall(r'class="word"[^>]*>([^<]*)</button>', drawn)]
    assert pressable == [word.text for word in exchange.answer.words]
    words = re.search(r'<p class="words">(.*?)</p>', drawn, re.DOTALL)[1]
    assert html.unescape(re.sub(r"<[^>]+>", "", words)) == exchange.answer.text


def test_the_shown_word_is_pressed_and_no_other(picture):
    exchange = answered(picture)
    session = Session([exchange])
    session.show(exchange, 2)
    drawn = transcript.conversation(session, [])
    assert re.findall(r'data-word="(\d+)" aria-pressed="true"', drawn) == ["2"]


def test_line_of_truth_tells_times_tokens_and_toggles(picture):
    exchange = answered(picture)
    exchange.evidence_only = True
    line = re.sub(r"<[^>]+>", "", transcript.conversation(Session([exchange]), []).split('class="truth">')[1])
    assert re.match(r"●◐◌◌● · \d+\.\d\d s · first word 0\.12 s · 196 image tokens · evidence only", line)


@pytest.mark.parametrize(
    ("kind", "tokens", "label"),
    [
        ("projector", ((81, 576),), "196 image tokens"),
        ("cross-attention", ((81, 576), (81, 576)), "162 image tokens by cross-attention"),
        ("cross-attention", ((1, 576),), "1 image token by cross-attention"),
    ],
)
def test_image_tokens_that_stand_beside_the_prompt_are_counted_too(picture, kind, tokens, label):
    exchange = answered(picture)
    facts = BridgeFacts(tokens, tokens, BridgeInfo(kind, "in words"), len(tokens), 0, 0)
    exchange.stages = [StageEvent("bridge", 0.1, facts)]
    assert f">{label}<" in transcript.conversation(Session([exchange]), [])


def test_text_is_said_to_be_read_only_where_there_was_some(picture):
    exchange = answered(picture, ocr=True)
    assert ">text read<" in transcript.conversation(Session([exchange]), [])
    nothing = OcrResult("", (), 0.1)
    exchange.answer = replace(exchange.answer, ocrs=(nothing,), ocr=nothing)
    drawn = transcript.conversation(Session([exchange]), [])
    assert ">no text found<" in drawn and "text read" not in drawn
    stopped = ChatTurn("What?", True, False, state="stopped")
    assert "text" not in transcript.conversation(Session([stopped]), []).split('class="truth">')[1]


def test_a_cut_of_what_was_read_is_told_in_the_chat_and_beside_the_text(picture):
    exchange = answered(picture, ocr=True)
    result = replace(exchange.answer.ocrs[0], left_out=40)
    exchange.answer = replace(exchange.answer, ocrs=(result,), ocr=result)
    words = len(result.words) + 40
    assert ">text read in part<" in transcript.conversation(Session([exchange]), [])
    drawn = panels.ocr_panel.draw(exchange)
    assert f"{words} words read in" in drawn and f"40 of {words} words, far from the question, are left out." in drawn
    assert "left out" not in panels.ocr_panel.draw(answered(picture, ocr=True))


def test_letters_of_another_language_are_told_of_in_the_chat_and_beside_the_text(picture):
    exchange = answered(picture, ocr=True)
    note = "The text looks like <Cyrillic> letters."
    for words in (exchange.answer.ocrs[0].words, ()):
        result = replace(exchange.answer.ocrs[0], words=words, note=note)
        exchange.answer = replace(exchange.answer, ocrs=(result,), ocr=result)
        for drawn in (transcript.conversation(Session([exchange]), []), panels.ocr_panel.draw(exchange)):
            assert drawn.count("The text looks like &lt;Cyrillic&gt; letters.") == 1


def test_what_was_read_for_an_earlier_question_says_so(picture):
    exchange = answered(picture, ocr=True)
    result = replace(exchange.answer.ocrs[0], cached=True)
    exchange.answer = replace(exchange.answer, ocrs=(result,), ocr=result)
    assert "read for an earlier question" in panels.ocr_panel.draw(exchange)


def test_an_offer_is_drawn_only_where_there_is_one(picture):
    exchange = answered(picture)
    exchange.outside = ("Outside.", 'make demo ARGS="--model x"')
    drawn = transcript.conversation(Session([exchange]), [])
    assert html.unescape(re.search("<code>(.*?)</code>", drawn)[1]) == exchange.outside[1]
    exchange.outside = ("Outside.", "")
    drawn = transcript.conversation(Session([exchange]), [])
    assert "Outside." in drawn and "<code>" not in drawn


def test_first_telling_word_skips_small_words(picture):
    assert transcript.first_content_word(answered(picture, text="there is a star").answer) == 3
    assert transcript.first_content_word(answered(picture, text="it is").answer) == 0


def test_image_tokens_are_folded_and_counted(picture):
    drawn = panels.prompt_panel.draw(answered(picture))
    assert "⟨image⟩ × 196" in drawn and drawn.count("196 tokens") == 1


def test_every_token_of_the_prompt_can_be_seen_with_its_id(picture):
    exchange = answered(picture, EVIL)
    pieces = tuple(f"{EVIL}{i}" for i in range(len(exchange.answer.prompt.ids)))
    exchange.answer = replace(exchange.answer, prompt=replace(exchange.answer.prompt, pieces=pieces))
    drawn = panels.prompt_panel.draw(exchange)
    listed = re.findall(r"<li><code>([^<]*)</code><small>(\d+)</small></li>", drawn)
    texts = [i for i in range(len(pieces)) if i not in exchange.answer.prompt.image_positions[1:]]
    assert [(html.unescape(piece), int(id_)) for piece, id_ in listed] == [(pieces[i], i) for i in texts]
    assert "the same 195 times more" in drawn and "<img" not in drawn


def test_the_legend_names_the_origins_that_occur(picture):
    drawn = panels.prompt_panel.draw(answered(picture, ocr=True))
    assert re.findall(r'class="key (\w+)"', drawn) == ["template", "image", "ocr", "question"]


def test_words_are_tinted_by_how_much_of_their_attention_lay_on_the_picture(picture):
    exchange = answered(picture, text="a star")
    exchange.shares = (Shares(0.1, 0.5, 0.4), Shares(0.4, 0.5, 0.1))
    assert re.findall(r"--look:([\d.]+)", transcript.conversation(Session([exchange]), [])) == ["1.00"]  # “a” has none
    exchange = answered(picture, text="red, star")
    exchange.shares = (Shares(0.1, 0.5, 0.4), Shares(0.4, 0.5, 0.1))
    assert re.findall(r"--look:([\d.]+)", transcript.conversation(Session([exchange]), [])) == ["0.25", "1.00"]
    exchange = answered(picture, text="The star and a square of the king is yes 2")
    exchange.shares = (Shares(0.1, 0.5, 0.4),) * 11
    tinted = re.findall(r"--look:[^>]+>([^<]+)</button>", transcript.conversation(Session([exchange]), []))
    assert tinted == ["star", "square", "king", "yes", "2"]
    exchange.shares = (None,) * 11
    assert "--look" not in transcript.conversation(Session([exchange]), [])


def test_an_answer_about_a_picture_outside_the_models_world_is_never_said_to_rest_on_it(picture):
    exchange = answered(picture)
    shown = {}
    for level in ("grounded", "read", "not visible"):
        exchange.grounding = Grounding(level, 0.9, 0.9, 0.5, None, "Because.")
        exchange.outside = None
        assert "badge" in transcript.conversation(Session([exchange]), [])
        exchange.outside = ("Outside.", "")
        shown[level] = "badge" in transcript.conversation(Session([exchange]), [])
    assert shown == {"grounded": False, "read": False, "not visible": True}


def test_every_badge_has_its_sign_and_its_words(picture):
    exchange, shown = answered(picture), {}
    for level in LEVELS:
        exchange.grounding = Grounding(level, 0.9, 0.9, 0.5, None, "Because.", 0.8, EVIL * (level == "read"))
        badge = re.search(
            r'<button[^>]*class="link badge ([^"]+)"[^>]*>(.*?)</button>', transcript.badge(exchange.grounding)
        )
        shown[badge[1]] = html.unescape(re.sub(r"<[^>]+>", "", badge[2]))
    quote = EVIL if len(EVIL) <= transcript.QUOTED else EVIL[: transcript.QUOTED - 1] + "…"
    assert shown == {
        "grounded": "● rests on the picture",
        "read": f"≡ rests on text read: “{quote}”",
        "weak": "◐ rests weakly",
        "not-visible": "○ not visible",
        "not-about-the-picture": "– not about the picture",
    }


def test_an_answer_that_was_cut_says_so_in_one_sentence(picture):
    exchange = answered(picture)
    assert "repeat itself" not in transcript.conversation(Session([exchange]), [])
    exchange.answer = replace(exchange.answer, cut=30)
    drawn = transcript.conversation(Session([exchange]), [])
    assert drawn.count("The model began to repeat itself, so the answer was cut there.") == 1
