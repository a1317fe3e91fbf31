"""Endpoints: what `gradio_client` calls on the page's port, in the page's own queue.

    client.predict("data:image/png;base64,...", "What is it?", api_name="/ask")

Gradio reads the types of arguments and results from the annotations, and the documentation from the docstrings; so this
file does without postponed annotations. What was sent is removed from Gradio's session, which would keep it.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial, wraps
from inspect import signature
from typing import Any

import gradio as gr

from vlm_demo import document_fields
from vlm_demo.api import gradio_calls, model_requests, problems
from vlm_demo.api.access import Places
from vlm_demo.api.chat_request import LONGEST_ANSWER
from vlm_demo.api.chat_response import checked, explained
from vlm_demo.api.image_hosts import ImageHosts
from vlm_demo.api.model_requests import RequestedExtras, RequestOutcome
from vlm_demo.api.parameters import described
from vlm_demo.contracts.engine import Cancelled, Request
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import BadQuestion, BadSetting
from vlm_demo.images.open import Page

MOST_QUEUED = 64  # events of pages and requests of programs that wait in Gradio's queues at a time


def add(page: gr.Blocks, service: ModelRegistry, hosts: ImageHosts, places: Places) -> None:
    """Give a page the endpoints ``/ask``, ``/explain``, ``/check``, ``/score`` and ``/fields``."""
    endpoints = Endpoints(
        service,
        hosts,
        places,
        lambda session: page.state_holder.session_data.pop(session, None),
        partial(gradio_calls.abandoned, page),
    )
    page.queue(max_size=MOST_QUEUED)
    # That of the page's answers.
    queue: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": service.at_once}
    with page:
        gr.api(_streamed(endpoints.ask), api_name="ask", **queue)
        gr.api(endpoints.explain, api_name="explain", **queue)
        gr.api(endpoints.check, api_name="check", **queue)
        gr.api(endpoints.score, api_name="score", **queue)
        gr.api(endpoints.fields, api_name="fields", **queue)


class Endpoints:
    """The functions behind them. ``forget`` removes what a session sent from Gradio's memory; ``abandoned`` makes what
    tells whether the caller has gone."""

    def __init__(
        self,
        service: ModelRegistry,
        hosts: ImageHosts,
        places: Places,
        forget: Callable[[Any], object],
        abandoned: Callable[[], Cancelled],
    ) -> None:
        self.service, self.hosts, self.places = service, hosts, places
        self.forget, self.abandoned = forget, abandoned

    @described
    def ask(
        self,
        image: str,
        question: str,
        request: gr.Request,
        ocr: bool = False,
        evidence_only: bool = False,
        max_tokens: int = LONGEST_ANSWER,
        temperature: float = 0.0,
        seed: int | None = None,
        page: int | None = None,
    ) -> Generator[str]:
        """Answer a question about a picture; the answer so far comes word by word.

        Returns:
            The answer.
        """
        with self._refusals_as_errors(request) as cancelled:
            sampling = Sampling(_number(temperature, "temperature"), seed=seed)
            engine_request = self._request(image, question, ocr, evidence_only, max_tokens, sampling, page, cancelled)
            with closing(model_requests.ask(self.service, engine_request)) as events:
                for event in events:
                    if isinstance(event, RequestOutcome):
                        self.forget(request.session_hash)  # the steps before have left the answer there
                        yield event.answer.text
                    else:
                        yield event.text

    @described
    def explain(
        self,
        image: str,
        question: str,
        answer: str,
        request: gr.Request,
        words: list[str] | None = None,
        method: str | None = None,
        grounding: bool = True,
        ocr: bool = False,
        page: int | None = None,
    ) -> dict:
        """Tell where the model looks for each word of a given answer, how likely it finds it, and whether it rests on
        the picture. Nothing is generated.

        Returns:
            text, tokens (text and probability of each), heatmaps (word, image and a grey PNG as a data URI, black = 0,
            white = 1, or the problem), and grounding (level, score, sentence).
        """
        with self._refusals_as_errors(request) as cancelled:
            engine_request = self._request(image, question, ocr, False, LONGEST_ANSWER, Sampling(), page, cancelled)
            chosen = tuple(_texts(words, "words")) if words is not None else ()
            extras = RequestedExtras(
                chosen, words is None, None if method is None else _text(method, "method"), bool(grounding)
            )
            return explained(model_requests.explain(self.service, engine_request, _text(answer, "answer"), extras))
        raise AssertionError

    @described
    def check(
        self,
        image: str,
        question: str,
        request: gr.Request,
        ocr: bool = False,
        evidence_only: bool = False,
        blank: bool = False,
        max_tokens: int = LONGEST_ANSWER,
        page: int | None = None,
    ) -> dict:
        """Answer a question about a picture, and run the checklist on the answer: what may be wrong, why, and what to
        do.

        Returns:
            text, headline, and checks: of each of the five name, verdict (pass, warn, fail, open), values, measured,
            why and remedy.
        """
        with self._refusals_as_errors(request) as cancelled:
            engine_request = self._request(image, question, ocr, evidence_only, max_tokens, Sampling(), page, cancelled)
            extras = RequestedExtras(checklist=True, blank=bool(blank))
            with closing(model_requests.ask(self.service, engine_request, extras)) as events:
                *_, outcome = events
            assert isinstance(outcome, RequestOutcome)
            return checked(outcome)
        raise AssertionError

    @described
    def score(self, image: str, texts: list[str], request: gr.Request) -> list:
        """Tell how well each text fits a picture; for models that compare them (clip, blip2).

        Returns:
            For each text its probability among them, its similarity (-1 to 1), and the probability that it fits by
            itself, null where the model can't say.
        """
        with self._refusals_as_errors(request) as cancelled:
            given = _texts(texts, "texts")
            picture = self.hosts.picture(_text(image, "image"))
            with self.service.engine(cancelled) as engine:
                scores = engine.score(picture, given, cancelled=cancelled, visitor=self.places.visitor)
            matches = scores.matches or (None,) * len(scores.texts)
            rows = zip(scores.texts, scores.probabilities, scores.similarities, matches, strict=True)
            return [dict(zip(("text", "probability", "similarity", "match"), row, strict=True)) for row in rows]
        raise AssertionError

    @described
    def fields(
        self,
        image: str,
        schema: dict,
        request: gr.Request,
        ocr: bool = True,
        page: int | None = None,
        in_one: bool = False,
    ) -> dict:
        """Read the fields of a receipt or a form.

        Returns:
            fields, an object as the schema describes it, null where a field was not found; and missing, the required
            ones among these.
        """
        with self._refusals_as_errors(request) as cancelled:
            checked_schema = document_fields.checked(schema)
            engine_request = self._request(image, "", ocr, True, document_fields.TOKENS, Sampling(), page, cancelled)
            return model_requests.fields(self.service, engine_request, checked_schema, bool(in_one))
        raise AssertionError

    def _request(
        self,
        image: str,
        question: str,
        ocr: bool,
        evidence_only: bool,
        max_tokens: int,
        sampling: Sampling,
        page: int | None,
        cancelled: Cancelled,
    ) -> Request:
        if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
            raise BadSetting("max_tokens must be a whole number from 1 on.")
        if page is not None and (isinstance(page, bool) or not isinstance(page, int) or page < 1):
            raise BadSetting("page must be a whole number from 1 on.")
        picture = self.hosts.picture(_text(image, "image"))
        return Request(
            (picture if page is None else Page(picture, page),),
            _text(question, "question"),
            ocr=bool(ocr),
            evidence_only=bool(evidence_only),
            max_new_tokens=max_tokens,
            cancelled=cancelled,
            sampling=sampling,
            visitor=self.places.visitor,
        )

    @contextmanager
    def _refusals_as_errors(self, request: gr.Request) -> Iterator[Cancelled]:
        """Raise what goes wrong inside as one sentence for the caller; gives what tells whether the caller has gone."""
        self.forget(request.session_hash)
        cancelled = self.abandoned()
        try:
            with self.places.one(cancelled):
                yield cancelled
        except Exception as error:
            raise gr.Error(problems.refusal(error).sentence, print_exception=False) from None


def _streamed(function: Callable[..., Generator[str]]) -> Callable[..., Generator[str]]:
    """``function`` annotated with the type that it yields instead of its generator's, as Gradio expects."""

    @wraps(function)
    def stream(*arguments: Any, **named: Any) -> Generator[str]:
        yield from function(*arguments, **named)

    stream.__annotations__ = {**function.__annotations__, "return": str}
    stream.__signature__ = signature(function).replace(return_annotation=str)  # type: ignore[attr-defined]
    return stream


def _text(given: Any, name: str) -> str:
    if not isinstance(given, str):
        raise BadQuestion(f"{name} must be a text.")
    return given


def _texts(given: Any, name: str) -> list[str]:
    if not isinstance(given, list):
        raise BadQuestion(f"{name} must be a list: send at least one text.")
    return [_text(text, f"each of the {name}") for text in given]


def _number(given: Any, name: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise BadSetting(f"{name} must be a number.")
    return given
