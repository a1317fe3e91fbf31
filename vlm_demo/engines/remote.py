"""Remote: an OpenAI-compatible server as an Engine. The server generates; since none returns attention, a checkpoint in
this process, if one is given, replays the answer in one forward pass (teacher forcing).

Heatmaps, badge and image tokens are then that checkpoint's, as `Answer.replay` records.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch

from vlm_demo.checks import checklist, image_tokens, latency
from vlm_demo.checks.latency import Machine
from vlm_demo.contracts import (
    DEFAULT_OCR,
    Anatomy,
    Answer,
    Grounding,
    MapRequest,
    Memory,
    OcrResult,
    OcrSettings,
    Prompt,
    Replay,
    Scores,
    Timings,
    TokenEvent,
    View,
)
from vlm_demo.contracts.engine import AS_SERVED, ELSEWHERE, Cancelled, Capabilities, Event, Request
from vlm_demo.contracts.events import DecodeFacts
from vlm_demo.engines import live_checks, local, remote_request
from vlm_demo.engines.connection import Connection
from vlm_demo.engines.local import LocalEngine
from vlm_demo.engines.remote_server import KEY_VARIABLE, LogprobsRefused, Server, patience, server_at
from vlm_demo.engines.remote_stream import StreamChunk
from vlm_demo.engines.remote_text import RemoteText
from vlm_demo.errors import BadSetting, Stopped, UnsupportedModel, VlmDemoError
from vlm_demo.images.decode import share_of_pixels
from vlm_demo.images.open import Source, open_image
from vlm_demo.images.remote_pictures import NOTHING, RemotePictures
from vlm_demo.pipeline.inputs import Inputs, bounded, conversation_of, open_views, read_text
from vlm_demo.runtime.cancellation import check
from vlm_demo.runtime.detokenizer import words_of
from vlm_demo.runtime.feature_cache import belongs
from vlm_demo.runtime.lru_store import LEAST_BUDGET, LruStore
from vlm_demo.runtime.pixel_view import PixelView
from vlm_demo.runtime.stage_clock import StageClock
from vlm_demo.stages import ocr as ocr_stage
from vlm_demo.stages.ocr import OcrReader
from vlm_demo.trust import NONE, Trust

if TYPE_CHECKING:
    from vlm_demo.engines.registry import Progress

VIEW_SIDE = 768  # pixels of a picture's longer side in the view, where no checkpoint defines what a model sees
MIN_IN_DISTRIBUTION = 0.5  # below this ``in_distribution`` the badge of a checkpoint is meaningless
NO_MAPS = (
    "A server returns no attention weights, so there are no heatmaps: start with --explain-with and a checkpoint that "
    "reads its answers here."
)


class RemoteEngine:
    """A `contracts.engine.Engine`. Its stages are view, OCR, prompt, prefill (until the server's first word) and
    decode; what the server does in between is unknown. ``model`` is what the server calls its model."""

    def __init__(
        self, server: Server, model: str, explainer: LocalEngine | None = None, remote: RemotePictures = NOTHING
    ) -> None:
        if explainer is not None and not explainer.capabilities.explains:
            raise BadSetting(f"{explainer.name} gives no heatmaps: name another checkpoint with --explain-with.")
        self.server, self.model, self.explainer = server, model, explainer
        self.name = shown_name(model)
        self.precision, self.device, self.parameters = AS_SERVED, ELSEWHERE, None
        self._cache = LruStore(LEAST_BUDGET)
        self._requests_logprobs, self._has_logprobs = True, False
        self._view = explainer.pipeline.view if explainer else PlainViews(remote)
        self._reader = explainer.pipeline.reader if explainer else OcrReader(self._cache)

    @property
    def capabilities(self) -> Capabilities:
        explains = self.explainer is not None
        return Capabilities(True, explains, scores=False, quantizes=False, logprobs=explains or self._has_logprobs)

    # -- answering ------------------------------------------------------------------------------------------------

    def stream(self, request: Request) -> Iterator[Event]:
        clock = StageClock()
        with closing(self._events(request, clock)) as events:
            for event in events:
                yielded_at = time.perf_counter()
                yield event
                clock.pause(time.perf_counter() - yielded_at)

    def _events(self, request: Request, clock: StageClock) -> Generator[Event, None, None]:
        # 1) and 2): view and OCR, here
        opened = yield from open_views(request, bounded(self._view, request), clock)
        inputs = yield from read_text(request, opened, self._reader, clock)
        # 3) prompt: the messages
        started = time.perf_counter()
        body = remote_request.body(request, inputs.views, inputs.ocrs, self.model)
        yield clock.since("prompt", started)
        # 4) the server, until its first word and from there
        started, seconds = time.perf_counter(), 0.0
        written, stopped = RemoteText(cuts_repetition=request.sampling.schema is None), False
        with closing(self._chunks(body, request.cancelled)) as chunks:
            chunk = next(chunks, None)
            prefill = clock.since("prefill", started)
            clock.seconds["first_token"] = clock.total
            yield prefill
            try:
                while chunk is not None:
                    if token := written.add(chunk):
                        yield TokenEvent(token, written.text)
                    if written.cut:
                        break  # which closes the request
                    started = time.perf_counter()
                    check(request.cancelled)
                    chunk = next(chunks, None)
                    seconds += time.perf_counter() - started
            except Stopped:
                stopped = True
        self._has_logprobs = bool(written.tokens) and all(token.probability for token in written.tokens)
        yield clock.done("decode", seconds, DecodeFacts(len(written.tokens) + written.cut, written.cut))
        # 5) the answer, replayed here
        answer = self._answer(request, inputs, body["messages"], written, clock, stopped)
        yield self._read(request, answer)

    def _chunks(self, body: dict[str, Any], cancelled: Cancelled | None) -> Generator[StreamChunk, None, None]:
        """The server's answer, with probabilities unless it has refused them."""
        if self._requests_logprobs:
            try:
                # llama-cpp-python returns them only where a number of alternatives is requested too.
                yield from self.server.chat({**body, "logprobs": True, "top_logprobs": 0}, cancelled)
                return
            except LogprobsRefused:
                self._requests_logprobs = False
        yield from self.server.chat(body, cancelled)

    def _answer(
        self,
        request: Request,
        inputs: Inputs,
        messages: Sequence[dict[str, Any]],
        written: RemoteText,
        clock: StageClock,
        stopped: bool,
    ) -> Answer:
        """The server's answer, with what is known about it."""
        tokens = tuple(written.tokens)
        answer = Answer(
            text=written.text,
            tokens=tokens,
            words=words_of(tokens),
            prompt=Prompt(remote_request.as_text(messages), (), 0, (), ()),
            views=tuple(view.geometry for view in inputs.views),
            ocr=ocr_stage.merged(inputs.ocrs),
            ocrs=inputs.ocrs,
            timings=Timings(**clock.seconds, total=clock.total),
            memory=self.memory(),
            model=self.name,
            stopped=stopped,
            cut=written.cut,
            full=written.full,
            conversation=conversation_of(request),
            replay=Replay("", None, tokens, NO_MAPS),
        )
        placeholder_check = image_tokens.check(answer.prompt, None)
        return replace(answer, checks=checklist.first(answer, placeholder_check, Machine(self.precision)))

    def _read(self, request: Request, written: Answer) -> Answer:
        """The server's answer as the checkpoint here replays it; unchanged where it can't be replayed."""
        if self.explainer is None:
            return written
        name, tokens = self.explainer.name, written.tokens
        try:
            read = self.explain(replace(request, cancelled=None), written.text)
        except VlmDemoError as error:
            return replace(written, replay=Replay(name, None, tokens, f"{name} could not read it here: {error}"))
        if read.text.strip() != written.text.strip():
            problem = f"{name} could not read it here: its vocabulary can't write this text as it stands."
            return replace(written, replay=Replay(name, None, tokens, problem))
        assert read.replay is not None
        latency_check = latency.check(
            written.timings,
            read.memory,
            Machine(self.precision),
            image_tokens=read.prompt.image_tokens,
            answer_tokens=len(tokens),
        )
        return replace(
            read,
            timings=written.timings,
            stopped=written.stopped,
            cut=written.cut,
            full=written.full,
            replay=replace(read.replay, tokens=tokens),
            checks=checklist.replaced(read.checks, live_checks.of_hallucination(written, None, None), latency_check),
        )

    # -- explaining, by the checkpoint here -----------------------------------------------------------------------

    def explain(self, request: Request, text: str) -> Answer:
        read = self._require_explainer().explain(request, text)
        agreed = [token.likeliest for token in read.tokens if token.likeliest is not None]
        share = sum(agreed) / len(agreed) if agreed else None
        return replace(read, model=self.name, replay=Replay(self._require_explainer().name, share, ()))

    def heatmap_methods(self, answer: Answer) -> dict[str, str | None]:
        return self.explainer.heatmap_methods(answer) if self.explainer and answer.trace is not None else {}

    def heatmap(self, answer: Answer, wanted: MapRequest, *, cancelled: Cancelled | None = None) -> np.ndarray:
        return self._require_explainer().heatmap(answer, wanted, cancelled=cancelled)

    def grounding(self, answer: Answer, *, cancelled: Cancelled | None = None) -> Grounding:
        explainer = self._require_explainer()
        if answer.trace is not None:
            scores = [score for score in map(explainer.in_distribution, answer.views) if score is not None]
            if scores and min(scores) < MIN_IN_DISTRIBUTION:
                raise VlmDemoError(f"{explainer.name} knows no pictures like this one: its badge would say nothing.")
        return explainer.grounding(answer, cancelled=cancelled)

    def anatomy(self, answer: Answer, *, cancelled: Cancelled | None = None) -> Anatomy:
        return self._require_explainer().anatomy(answer, cancelled=cancelled)

    def _require_explainer(self) -> LocalEngine:
        if self.explainer is None:
            raise UnsupportedModel(NO_MAPS)
        return self.explainer

    # -- the rest -------------------------------------------------------------------------------------------------

    def score(
        self, image: Source, texts: Sequence[str], *, cancelled: Cancelled | None = None, visitor: str = ""
    ) -> Scores:
        raise self._cannot_score()

    def relevancy(
        self, image: Source, text: str, *, cancelled: Cancelled | None = None, visitor: str = ""
    ) -> np.ndarray:
        raise self._cannot_score()

    def _cannot_score(self) -> UnsupportedModel:
        return UnsupportedModel(f"{self.name} answers on a server, which compares no pictures with texts: use clip.")

    def read_text(
        self, view: View, settings: OcrSettings = DEFAULT_OCR, *, cancelled: Cancelled | None = None
    ) -> OcrResult:
        return self._reader(view.image, settings, cancelled, view.visitor)

    def with_pictures(self, answer: Answer, images: Sequence[Source]) -> Answer:
        read_here = self.explainer and answer.replay and answer.replay.by == self.explainer.name
        if self.name != answer.model and not read_here:
            raise VlmDemoError(f"{answer.model} wrote this answer, and {self.name} is in service now: ask again first.")
        view = partial(self._view, visitor=answer.view.visitor, most_pixels=share_of_pixels(len(images)))
        return replace(answer, views=tuple(view(image).geometry for image in images))

    def in_distribution(self, view: View) -> float | None:
        return None  # the training data of the server's model is unknown

    def memory(self) -> Memory:
        if self.explainer is not None:
            return self.explainer.memory()
        return Memory(0, psutil.Process().memory_info().rss)

    def forget(self, visitor: str | None = None) -> None:
        if self.explainer is not None:
            self.explainer.forget(visitor)
        if visitor is None:
            self._cache.clear()
        else:
            self._cache.drop_where(lambda key: belongs(key, visitor))


class PlainViews:
    """Upload → PixelView without a model: upright and in one patch, as a server's preprocessing is unknown."""

    def __init__(self, remote: RemotePictures = NOTHING) -> None:
        self.remote = remote

    def __call__(
        self, source: Source, visitor: str = "", *, cancelled: Cancelled | None = None, most_pixels: int | None = None
    ) -> PixelView:
        """Open one upload; the arguments are those of ``stages.view.ViewMaker``.

        Raises:
            BadImage: see ``images.open.open_image``.
            Stopped: ``cancelled()`` turned True.
        """
        image, notes = open_image(self.remote(source), cancelled=cancelled, most_pixels=most_pixels)
        resized = image.copy()
        resized.thumbnail((VIEW_SIDE, VIEW_SIDE))
        pixels = np.asarray(resized)
        return PixelView(
            image=image,
            size=image.size,
            pixel_values=torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None],
            given_size=image.size,
            processed=pixels,
            grid=(1, 1),
            boxes=np.array([[0, 0, *image.size]], np.float32),
            notes=notes,
            visitor=visitor,
        )


def shown_name(model: str) -> str:
    """A model's name for people: of a path on the server, which must not be shown, the last part."""
    if not re.match(r"[/~.\\]|[A-Za-z]:[/\\]", model):
        return model
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1] or model


def connect(
    connection: Connection,
    quantize: str = "none",
    device: str | None = None,
    progress: Progress | None = None,
    trust: Trust = NONE,
    image_hosts: Sequence[str] = (),
) -> RemoteEngine:
    """The engine of a server, whose key comes from the environment.

    Args:
        quantize, device, progress, trust, image_hosts: of the checkpoint that explains, as ``local.load`` takes them.
    Raises:
        VlmDemoError: that is no address, or no model is named and none is listed, or the checkpoint can't be loaded;
            says what to do.
    """
    server = server_at(connection.address, os.environ.get(KEY_VARIABLE, "").strip(), patience())
    model = connection.model or server.first_model()
    explainer = None
    if connection.explain_with:
        explainer = local.load(connection.explain_with, quantize, device, progress, trust, image_hosts)
    return RemoteEngine(server, model, explainer, RemotePictures(image_hosts))
