"""Gradio's endpoints as `gradio_client` sees and calls them, over a page that is served."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from gradio.utils import get_function_description
from gradio_client import Client
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from tests.kit.served_page import served_page
from vlm_demo.api.endpoints import MOST_QUEUED, Endpoints
from vlm_demo.contracts import OcrSettings
from vlm_demo.contracts.checks import NAMES, OPEN
from vlm_demo.contracts.engine import Request
from vlm_demo.engines.registry import ModelRegistry

SAID = "a large purple star and a small red square"


@pytest.fixture(scope="module")
def served() -> Iterator[SimpleNamespace]:
    """A page with its doors, launched as the app does."""
    engine = FakeEngine()
    service = ModelRegistry(engine, lambda *_: FakeEngine(), "llava")
    with served_page(service) as (page, url):
        yield SimpleNamespace(service=service, engine=engine, page=page, url=url, client=Client(url, verbose=False))


def test_signatures_are_typed_and_explained(served: SimpleNamespace) -> None:
    told = served.client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(told) == {"/ask", "/check", "/explain", "/fields", "/score"}
    given = {
        p["parameter_name"]: (p["python_type"]["type"], p["parameter_has_default"]) for p in told["/ask"]["parameters"]
    }
    assert given == {
        "image": ("str", False),
        "question": ("str", False),
        "ocr": ("bool", True),
        "evidence_only": ("bool", True),
        "max_tokens": ("int", True),
        "temperature": ("float", True),
        "seed": ("None | int", True),
        "page": ("None | int", True),
    }
    assert [out["python_type"]["type"] for out in told["/ask"]["returns"]] == ["str"]
    assert told["/explain"]["parameters"][3]["python_type"]["type"] == "None | list[str]"
    described = served.page.get_api_info()["named_endpoints"]["/ask"]["description"]
    assert described.startswith("Answer a question about a picture")


def test_a_full_queue_takes_no_more(served: SimpleNamespace, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = served.page._queue
    assert queue.max_size == MOST_QUEUED
    monkeypatch.setattr(queue, "max_size", 0)
    with pytest.raises(Exception, match="[Qq]ueue is full"):
        served.client.predict(uri, "What is it?", api_name="/ask")


@pytest.mark.parametrize("name", ["ask", "check", "explain", "fields", "score"])
def test_each_argument_is_explained_where_gradio_looks_for_it(name: str) -> None:
    told, meaning, returned = get_function_description(getattr(Endpoints, name))
    assert told and returned and all(meaning.pop(own) == "" for own in ("self", "request"))
    assert meaning and all(meaning.values())


def test_an_answer_comes_word_by_word(served: SimpleNamespace, uri: str) -> None:
    job = served.client.submit(uri, "What is it?", evidence_only=True, max_tokens=9, api_name="/ask")
    assert job.result() == SAID
    assert job.outputs()[0] == "a" and job.outputs()[-1] == SAID
    asked = served.engine.requests[-1]
    assert asked["evidence_only"] and asked["max_new_tokens"] == 9 and not asked["sampling"].draws


def test_a_given_answer_is_explained(served: SimpleNamespace, uri: str) -> None:
    told = served.client.predict(uri, "What is it?", "a red star", ["star"], api_name="/explain")
    assert [token["text"] for token in told["tokens"]] == ["a", " red", " star"]
    (star,) = told["heatmaps"]
    drawn = Image.open(io.BytesIO(base64.b64decode(star["png"].partition(",")[2])))
    *_, answer = FakeEngine(answer="a red star").stream(Request((base64.b64decode(uri.partition(",")[2]),), "What?"))
    assert np.abs(np.asarray(drawn) - answer.heatmap("star") * 255).max() <= 0.5
    assert told["grounding"]["level"] == "weak"
    told = served.client.predict(uri, "What is it?", "a red star", None, grounding=False, api_name="/explain")
    assert [entry["word"] for entry in told["heatmaps"]] == ["red", "star"] and told["grounding"] is None


@pytest.mark.parametrize("blank", [False, True])
def test_an_answer_is_checked(served: SimpleNamespace, uri: str, blank: bool) -> None:
    before = len(served.engine.requests)
    told = served.client.predict(uri, "What is it?", evidence_only=True, blank=blank, api_name="/check")
    assert told["text"] == SAID and told["headline"]
    assert [check["name"] for check in told["checks"]] == list(NAMES)
    assert OPEN not in [check["verdict"] for check in told["checks"]]
    assert told["checks"][2]["values"]["evidence_only"] is True
    assert len(served.engine.requests) - before == 1 + blank


def test_texts_are_scored(served: SimpleNamespace, uri: str) -> None:
    told = served.client.predict(uri, ["a star", "a boat"], api_name="/score")
    assert [(row["text"], row["probability"], row["match"]) for row in told] == [
        ("a star", 0.5, None),
        ("a boat", 0.5, None),
    ]


def test_text_is_read_as_the_server_was_told(
    served: SimpleNamespace, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    german = OcrSettings("deu+eng")
    monkeypatch.setattr(served.service, "ocr_settings", german)
    before = len(served.engine.requests)
    for call in (("/ask", "What?", True), ("/check", "What?", True), ("/fields", {"properties": {"a": {}}})):
        served.client.predict(uri, *call[1:], api_name=call[0])
    asked = served.engine.requests[before:]
    assert [one["ocr_settings"] for one in asked] == [german] * 3


def test_fields_are_read_by_a_schema(served: SimpleNamespace, uri: str) -> None:
    schema = {"required": ["shop", "paid"], "properties": {"shop": {}, "paid": {"type": "boolean"}}}
    before = len(served.engine.requests)
    told = served.client.predict(uri, schema, api_name="/fields")
    assert told == {"fields": {"shop": SAID, "paid": None}, "missing": ["paid"]}
    asked = served.engine.requests[before:]
    assert [one["question"] for one in asked] == ["What is the shop?", "Is it true: paid? Answer yes or no."]
    assert all(one["ocr"] and one["evidence_only"] for one in asked)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("/fields", "URI", {"properties": {"a": {"type": "array"}}}), "has the type 'array'"),
        (("/fields", "URI", "a text"), "is no JSON object"),
        (("/fields", "/etc/passwd", {"properties": {"a": {}}}), "data URIs"),
        (("/ask", "/etc/passwd", "What?"), "data URIs"),
        (("/ask", "http://169.254.169.254/", "What?"), "is not fetched"),
        (("/ask", "data:image/png;base64,AAAA", "What?"), "not a picture"),
        (("/ask", None, "What?"), "image must be a text"),
        (("/ask", {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "What?"), ""),
        (("/ask", "URI", " "), "question is empty"),
        (("/ask", "URI", "What?", False, False, 0), "max_tokens must be"),
        (("/ask", "URI", "What?", False, False, 5, "hot"), "temperature must be a number"),
        (("/ask", "URI", "What?", False, False, 5, -1), "temperature can't be"),
        (("/ask", "URI", "What?", False, False, 5, 0, None, 0), "page must be a whole number from 1 on"),
        (("/ask", "URI", "What?", False, False, 5, 0, None, 2), "no frame 2"),
        (("/explain", "URI", "What?", " "), "answer to explain is empty"),
        (("/check", "URI", " "), "question is empty"),
        (("/check", "/etc/passwd", "What?"), "data URIs"),
        (("/score", "URI", "a text"), "texts must be a list"),
        (("/score", "URI", []), "no text to compare"),
    ],
)
def test_what_can_t_be_used_is_one_sentence(
    served: SimpleNamespace, uri: str, call: tuple, said: str, capfd: pytest.CaptureFixture
) -> None:
    name, *arguments = call
    before = len(served.engine.requests)
    with pytest.raises(Exception) as caught:
        served.client.predict(*[uri if given == "URI" else given for given in arguments], api_name=name)
    assert said in str(caught.value) and "Traceback" not in str(caught.value)
    told = capfd.readouterr()
    assert "Traceback" not in told.err + told.out or not said
    assert all(request["images"] != ("/etc/passwd",) for request in served.engine.requests[before:])


def test_nothing_that_was_sent_is_kept(served: SimpleNamespace, uri: str) -> None:
    question, answer = "Where is the marmalade?", "behind the wainscot"
    served.client.predict(uri, question, api_name="/ask")
    served.client.predict(uri, question, answer, api_name="/explain")
    served.engine.requests.clear()
    kept = [
        value["props"].get("value")
        for state in served.page.state_holder.session_data.values()
        for value in state.config_values.values()
        if isinstance(value, dict) and "props" in value
    ]
    assert not [value for value in kept if value and any(text in str(value) for text in (question, answer, uri, SAID))]
