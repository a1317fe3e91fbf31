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

ANSWER = "a large purple star and a small red square"


@pytest.fixture(scope="module")
def served() -> Iterator[SimpleNamespace]:
    """A page with its APIs, launched as the app does."""
    engine = FakeEngine()
    service = ModelRegistry(engine, lambda *_: FakeEngine(), "llava")
    with served_page(service) as (page, url):
        yield SimpleNamespace(service=service, engine=engine, page=page, url=url, client=Client(url, verbose=False))


def test_signatures_are_typed_and_explained(served: SimpleNamespace) -> None:
    endpoints = served.client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/ask", "/check", "/explain", "/fields", "/score"}
    parameters = {
        p["parameter_name"]: (p["python_type"]["type"], p["parameter_has_default"])
        for p in endpoints["/ask"]["parameters"]
    }
    assert parameters == {
        "image": ("str", False),
        "question": ("str", False),
        "ocr": ("bool", True),
        "evidence_only": ("bool", True),
        "max_tokens": ("int", True),
        "temperature": ("float", True),
        "seed": ("None | int", True),
        "page": ("None | int", True),
    }
    assert [out["python_type"]["type"] for out in endpoints["/ask"]["returns"]] == ["str"]
    assert endpoints["/explain"]["parameters"][3]["python_type"]["type"] == "None | list[str]"
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
    description, meanings, returns = get_function_description(getattr(Endpoints, name))
    assert description and returns and all(meanings.pop(unlisted) == "" for unlisted in ("self", "request"))
    assert meanings and all(meanings.values())


def test_an_answer_comes_word_by_word(served: SimpleNamespace, uri: str) -> None:
    job = served.client.submit(uri, "What is it?", evidence_only=True, max_tokens=9, api_name="/ask")
    assert job.result() == ANSWER
    assert job.outputs()[0] == "a" and job.outputs()[-1] == ANSWER
    request = served.engine.requests[-1]
    assert request["evidence_only"] and request["max_new_tokens"] == 9 and not request["sampling"].draws


def test_a_given_answer_is_explained(served: SimpleNamespace, uri: str) -> None:
    explained = served.client.predict(uri, "What is it?", "a red star", ["star"], api_name="/explain")
    assert [token["text"] for token in explained["tokens"]] == ["a", " red", " star"]
    (star,) = explained["heatmaps"]
    drawn = Image.open(io.BytesIO(base64.b64decode(star["png"].partition(",")[2])))
    *_, answer = FakeEngine(answer="a red star").stream(Request((base64.b64decode(uri.partition(",")[2]),), "What?"))
    assert np.abs(np.asarray(drawn) - answer.heatmap("star") * 255).max() <= 0.5
    assert explained["grounding"]["level"] == "weak"
    explained = served.client.predict(uri, "What is it?", "a red star", None, grounding=False, api_name="/explain")
    assert [entry["word"] for entry in explained["heatmaps"]] == ["red", "star"] and explained["grounding"] is None


@pytest.mark.parametrize("blank", [False, True])
def test_an_answer_is_checked(served: SimpleNamespace, uri: str, blank: bool) -> None:
    before = len(served.engine.requests)
    checked = served.client.predict(uri, "What is it?", evidence_only=True, blank=blank, api_name="/check")
    assert checked["text"] == ANSWER and checked["headline"]
    assert [check["name"] for check in checked["checks"]] == list(NAMES)
    assert OPEN not in [check["verdict"] for check in checked["checks"]]
    assert checked["checks"][2]["values"]["evidence_only"] is True
    assert len(served.engine.requests) - before == 1 + blank


def test_texts_are_scored(served: SimpleNamespace, uri: str) -> None:
    rows = served.client.predict(uri, ["a star", "a boat"], api_name="/score")
    assert [(row["text"], row["probability"], row["match"]) for row in rows] == [
        ("a star", 0.5, None),
        ("a boat", 0.5, None),
    ]


def test_text_is_read_with_the_server_s_ocr_settings(
    served: SimpleNamespace, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    german = OcrSettings("deu+eng")
    monkeypatch.setattr(served.service, "ocr_settings", german)
    before = len(served.engine.requests)
    for call in (("/ask", "What?", True), ("/check", "What?", True), ("/fields", {"properties": {"a": {}}})):
        served.client.predict(uri, *call[1:], api_name=call[0])
    requests = served.engine.requests[before:]
    assert [request["ocr_settings"] for request in requests] == [german] * 3


def test_fields_are_read_by_a_schema(served: SimpleNamespace, uri: str) -> None:
    schema = {"required": ["shop", "paid"], "properties": {"shop": {}, "paid": {"type": "boolean"}}}
    before = len(served.engine.requests)
    result = served.client.predict(uri, schema, api_name="/fields")
    assert result == {"fields": {"shop": ANSWER, "paid": None}, "missing": ["paid"]}
    requests = served.engine.requests[before:]
    assert [request["question"] for request in requests] == ["What is the shop?", "Is it true: paid? Answer yes or no."]
    assert all(request["ocr"] and request["evidence_only"] for request in requests)


@pytest.mark.parametrize(
    ("call", "sentence"),
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
        (("/explain", "URI", "What?", "a star", "star"), "words must be a list"),
        (("/score", "URI", []), "no text to compare"),
    ],
)
def test_what_can_t_be_used_is_one_sentence(
    served: SimpleNamespace, uri: str, call: tuple, sentence: str, capfd: pytest.CaptureFixture
) -> None:
    name, *arguments = call
    before = len(served.engine.requests)
    with pytest.raises(Exception) as caught:
        served.client.predict(*[uri if argument == "URI" else argument for argument in arguments], api_name=name)
    assert sentence in str(caught.value) and "Traceback" not in str(caught.value)
    output = capfd.readouterr()
    assert "Traceback" not in output.err + output.out or not sentence
    assert all(request["images"] != ("/etc/passwd",) for request in served.engine.requests[before:])


def test_nothing_that_was_sent_is_kept(served: SimpleNamespace, uri: str) -> None:
    question, answer = "Where is the marmalade?", "behind the wainscot"
    served.client.predict(uri, question, api_name="/ask")
    served.client.predict(uri, question, answer, api_name="/explain")
    served.engine.requests.clear()
    assert not served.page.state_holder.session_data  # no session was begun, so none holds a value
