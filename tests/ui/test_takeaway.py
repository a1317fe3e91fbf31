"""A conversation that is taken away: one HTML file that needs nothing else, or JSON; of one's own page alone."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import event, request, run

HOSTILE = "<script>alert(1)</script> ${alert(1)} {{#if x}}"


def asked(page, picture: Path, answer: str = "a large star"):
    events = page(FakeEngine(answer=answer))
    run(events, events.ask({"text": HOSTILE, "files": [str(picture)]}, True, True, request()))
    return events


def taken(events, kind: str, who: str = "a") -> bytes:
    link = events.takeaway.export(event(kind=kind), request(who))["download"]
    return base64.b64decode(re.search(r"base64,([^\"]+)", str(link))[1])


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_html_holds_all_of_it_and_neither_scripts_nor_addresses(page, picture: Path) -> None:
    seen = Seen()
    seen.feed(taken(asked(page, picture, f"a star {HOSTILE}"), "html").decode())
    assert "script" not in seen.tags and "link" not in seen.tags
    assert seen.sources and all(source.startswith("data:image/") for source in seen.sources)
    assert seen.text.count(HOSTILE) >= 2  # question and answer, as text
    for part in ("Where the model looked", "Checks", "Hallucination control", "Stages", "encoder", "31 ms", "TOTAL"):
        assert part in seen.text


def test_the_json_is_the_contracts_as_data(page, picture: Path) -> None:
    told = json.loads(taken(asked(page, picture), "json"))
    assert (told["format"], told["version"]) == ("vlm_demo conversation", 1)
    (turn,) = told["turns"]
    assert turn["question"] == HOSTILE and turn["answer"] == "a large star" and turn["ocr"] and turn["evidence_only"]
    assert turn["tokens"][2] == {"text": " star", "id": 7, "probability": 0.93, "alternatives": [], "likeliest": None}
    assert len(turn["checks"]) == 5 and turn["checks"][0]["values"]["placeholders"] == 196
    assert turn["timings"]["encoder"] == 0.031 and [own["name"] for own in turn["stages"]][0] == "view"
    assert {own["word"] for own in turn["maps"]} == {"large", "star"}
    assert all(uri.startswith("data:image/") for uri in [*turn["pictures"], *(own["image"] for own in turn["maps"])])


def test_another_visitor_gets_nothing_of_it_and_what_is_cleared_is_gone(page, picture: Path) -> None:
    events = asked(page, picture)
    assert "nothing to save yet" in str(events.takeaway.export(event(kind="json"), request("b"))["status"])
    visitor = events.sessions.of("a").visitor
    assert visitor.encode() not in taken(events, "json") + taken(events, "html")
    events.clear(request())
    assert "nothing to save yet" in str(events.takeaway.export(event(kind="html"), request())["status"])
