"""The Text tab marks the words of the text that the answer quotes, where they stand, and no others."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.kit.fake_engine import FakeEngine
from tests.kit.planted_answer import answer
from tests.kit.ui import ask, request, run
from vlm_demo.contracts import Grounding, OcrResult, OcrWord
from vlm_demo.contracts.ocr import ReadWord
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.tabs.inspect import panels
from vlm_demo.ui.theme import STATIC

LEGEND = "the words that the answer quotes"


def read(*texts: str) -> OcrResult:
    words = tuple(OcrWord(text, (10 * i, 0, 10 * i + 9, 9), 90.0) for i, text in enumerate(texts))
    return OcrResult(" ".join(texts), words, 0.1)


TOTAL, TEA = read("TOTAL", "12.50", "CASH", "12.50"), read("Tea", "12.50")


def turn(pictures: int, *ocrs: OcrResult, quoted: tuple[ReadWord, ...] = ()) -> ChatTurn:
    """An answer about the last of several pictures, whose text was read."""
    made = ChatTurn("How much?", True, False)
    made.complete(replace(answer("12.50", pictures=pictures), ocrs=ocrs))
    made.grounding = Grounding("read", 0.9, 0.1, 0.5, None, "Because.", 0.8 if quoted else None, "12.50", quoted)
    return made


def marked(drawn: str, tag: str) -> list[str]:
    """The places of the marked boxes (``rect``) or words (``span``): picture, and which of its words."""
    return re.findall(rf'<{tag} class="quoted"[^>]*data-box="([^"]+)"', drawn)


def test_the_words_that_the_answer_quotes_are_marked_where_they_stand():
    drawn = panels.ocr_panel.draw(turn(1, TOTAL, quoted=tuple(ReadWord(0, TOTAL.words[i]) for i in (1, 3))))
    assert marked(drawn, "rect") == marked(drawn, "span") == ["0-1", "0-3"] and drawn.count("<rect") == 4
    assert drawn.count(LEGEND) == 1 and drawn.count("quoted by the answer") == 2


def test_of_several_pictures_the_words_of_the_one_in_which_they_were_read_are_marked():
    # The first picture belongs to an earlier question, so its text was not read for this one.
    drawn = panels.ocr_panel.draw(turn(3, TEA, TEA, quoted=(ReadWord(2, TEA.words[1]),)))
    assert marked(drawn, "rect") == marked(drawn, "span") == ["1-1"] and drawn.count("<rect") == 4
    first, second = drawn.split("</figure>")[:2]
    assert LEGEND not in first and LEGEND in second
    assert not marked(panels.ocr_panel.draw(turn(3, TEA, TEA, quoted=(ReadWord(0, TEA.words[1]),))), "rect")


def test_where_an_answer_quotes_nothing_or_has_no_badge_yet_no_word_is_marked():
    silent = turn(1, TOTAL)
    for grounding in (silent.grounding, None):
        silent.grounding = grounding
        drawn = panels.ocr_panel.draw(silent)
        assert "quoted" not in drawn and LEGEND not in drawn and drawn.count("<rect") == 4


def test_the_words_are_marked_when_the_badge_arrives(page, picture):
    class Quoting(FakeEngine):
        def grounding(self, answer, **_):
            (word,) = answer.ocrs[0].words
            return Grounding("read", 0.9, 0.1, 0.5, None, "Because.", 0.8, word.text, (ReadWord(0, word),))

    events = page(Quoting())
    assert "quoted" not in run(events, ask(events, "What does it say?", picture, ocr=True))["text"]
    (changes,) = events.deferred_maps.ground(request())
    assert "rests on text read: “TOTAL”" in changes["chat"] and marked(changes["text"], "rect") == ["0-0"]


def test_marked_boxes_differ_in_more_than_their_colour():
    style = (STATIC / "page.css").read_text(encoding="utf-8")
    plain, thick = (
        int(re.search(rf"^{re.escape(rule)} {{[^}}]*stroke-width: (\d+)", style, re.MULTILINE)[1])
        for rule in (".ocr rect", ".ocr rect.quoted")
    )
    assert thick > 2 * plain
