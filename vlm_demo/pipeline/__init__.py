"""Pipeline: picture and question → answer, in this process. What a loaded model can do, by what it is composed of:

    view, OCR      ``inputs``: uploads → views and text, without the model
    prompt … llm   ``staged``: a model whose stages are known, or ``whole``: one that answers in one piece
    decoding       steps of a generation → tokens
    explanations   tokens → heatmaps and badge
    scoring        picture and texts → how well each fits

Draws no page, prints nothing, and writes nothing to disk or log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
import torch

from vlm_demo import chat_messages
from vlm_demo.checks import checklist
from vlm_demo.checks.latency import Machine
from vlm_demo.contracts import (
    DEFAULT_OCR,
    Anatomy,
    Answer,
    BridgeInfo,
    Evidence,
    Grounding,
    MapRequest,
    Memory,
    OcrSettings,
    Scores,
    Timings,
    Turn,
    View,
    Word,
)
from vlm_demo.contracts.engine import Event, Request, answered
from vlm_demo.contracts.sampling import GREEDY, Sampling, stops
from vlm_demo.errors import BadSetting, UnsupportedModel
from vlm_demo.explain import methods, out_of_distribution
from vlm_demo.explain.calibration import read_calibration
from vlm_demo.explain.heatmap import read_settings
from vlm_demo.explain.legibility import read_legibility
from vlm_demo.images.open import Source
from vlm_demo.images.remote import NOTHING, RemotePictures
from vlm_demo.models import loading, quantization
from vlm_demo.models.loading import Loaded, Progress
from vlm_demo.pipeline.decoding import Outcome
from vlm_demo.pipeline.inputs import (
    Inputs,
    Turns,
    asked_in,
    open_views,
    read_text,
    read_text_and_encode,
    result_of,
)
from vlm_demo.pipeline.scoring import ScoringModel
from vlm_demo.pipeline.staged import StagedModel
from vlm_demo.pipeline.whole import WholeModel
from vlm_demo.runtime.cancellation import CancellationHooks
from vlm_demo.runtime.detokenizer import words_of
from vlm_demo.runtime.feature_cache import belongs
from vlm_demo.runtime.lru_store import LruStore, budget_for
from vlm_demo.runtime.stage_clock import StageClock
from vlm_demo.stages import ocr as ocr_stage
from vlm_demo.stages.view import ViewMaker
from vlm_demo.trust import NONE, Trust


class Pipeline:
    """A loaded model. ``answering`` is what writes answers, and ``scoring`` what compares pictures with texts; each is
    None where the model has no such part. ``stages()`` gives those of ``answering``, each callable alone.

    A chat goes on by handing over what was said before, oldest first. What was computed of pictures and prompts is
    remembered by their content, in ``remembered``, up to its budget of bytes: who asks about the same picture again
    gets the same answer, sooner. An answer whose end only repeats is cut there, unless ``cuts_repetition`` is turned
    off (to time a model of random weights)::

        from vlm_demo import Pipeline, Turn

        first = pipe.ask("scene.png", "What is in the image?")
        before = [Turn("What is in the image?", first.text, ("scene.png",))]
        pipe.ask([], "How many are there?", history=before)  # [] = about the earlier pictures
    """

    def __init__(self, loaded: Loaded, remember: int | None = None, remote: RemotePictures = NOTHING) -> None:
        family = loaded.family
        self.name, self.family, self.precision = loaded.name, family.name, loaded.precision
        self.folder = loaded.folder
        self.device, self.model = loaded.device, loaded.model
        self.tokenizer, self.image_processor = loaded.tokenizer, loaded.image_processor
        self.cuts_repetition = True
        budget = budget_for(quantization.memory_of(loaded.model).parameter_bytes) if remember is None else remember
        self.remembered = LruStore(budget)
        self.reader = ocr_stage.OcrReader(self.remembered)
        guard = CancellationHooks(loaded.device)
        guard.watch(family.encoder_layers)
        self.view = ViewMaker(loaded.image_processor, family.cut, remote)
        self.note: BridgeInfo = family.note  # how pictures get into the language model
        self.scoring: ScoringModel | None = None
        self.answering: StagedModel | WholeModel | None = None
        if family.matcher is not None:
            self.scoring = ScoringModel(loaded, family, family.matcher, guard, self.view, self.remembered)
        if family.as_a_whole:
            self.answering = WholeModel(loaded, family, guard)
        elif family.writes:
            self.answering = StagedModel(
                loaded,
                family,
                guard,
                self.view,
                self.remembered,
                self.scoring.relevancy if self.scoring else None,
                read_settings(loaded.folder),
                read_calibration(loaded.folder),
            )
        self._training_pictures = out_of_distribution.load(loaded.folder)
        self._reads_from = read_legibility(loaded.folder)
        self._kept = family.keep_unquantized

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder_or_hub_id: str | os.PathLike = "llava",
        *,
        quantize: str = "none",
        device: str | None = None,
        progress: Progress | None = None,
        remember: int | None = None,
        trust: Trust = NONE,
        dtype: torch.dtype | str | None = None,
        device_map: str | None = None,
        revision: str | None = None,
        image_hosts: Sequence[str] = (),
    ) -> Pipeline:
        """Load an embedded model, a local folder, or a model of the Hugging Face hub; see ``models.loading.load``.

        Args:
            remember: the bytes that may be remembered of pictures and prompts; 0 = nothing, None = a quarter of the
                model's own, or 256 MiB if that is more.
            trust: what of the checkpoint may run here; nothing, unless asked for.
            dtype: of the weights, such as ``torch.float16`` or ``"float16"``; ``"auto"`` = as they are stored.
            device_map: ``"auto"``, ``"cpu"`` or ``"cuda"``, in place of ``device``: a model lies on one device.
            revision: a commit, branch or tag of a model of the hub.
            image_hosts: hosts on the web from which pictures may be fetched that an address names; see
                ``images.remote``.
        """
        remote = RemotePictures(image_hosts)
        where = loading.device_of(device_map, device)
        name = os.fspath(name_or_folder_or_hub_id)
        loaded = loading.load(name, quantize, where, progress, trust, dtype=dtype, revision=revision)
        return cls(loaded, remember, remote)

    @property
    def can_answer(self) -> bool:
        """Whether the model writes answers."""
        return self.answering is not None

    @property
    def can_score(self) -> bool:
        """Whether the model compares pictures with texts."""
        return self.scoring is not None

    @property
    def can_explain(self) -> bool:
        """Whether answers have heatmaps."""
        return self.answering is not None and self.answering.explains

    @property
    def can_hold_json(self) -> bool:
        """Whether answers can be held to a JSON schema (``Sampling.schema``)."""
        return self.answering is not None and self.answering.holds_json

    @property
    def can_batch(self) -> bool:
        """Whether tokens of several answers can be computed together."""
        return isinstance(self.answering, StagedModel) and self.answering.llm.batches

    @property
    def parameters(self) -> int | None:
        """How many the model has; None where it can't count them."""
        count = getattr(self.model, "num_parameters", None)
        return count() if count else None

    def stages(self) -> StagedModel:
        """The stages that an answer goes through: ``view``, ``prompt``, ``encoder``, ``bridge``, ``llm``.

        Raises:
            UnsupportedModel: the model writes no answers, or its stages are not known.
        """
        model = self._answering()
        if isinstance(model, WholeModel):
            raise UnsupportedModel(f"{self.note.text}: choose a model whose stages are known.")
        return model

    def forget(self, visitor: str | None = None) -> None:
        """Remember no picture and no prompt of this visitor (``Request.visitor``) any more; None = of anybody."""
        if visitor is None:
            self.remembered.clear()
        else:
            self.remembered.drop_where(lambda key: belongs(key, visitor))

    def memory(self) -> Memory:
        """Parameter bytes as they are stored, and the process's resident memory, measured now."""
        return quantization.memory_of(self.model, *(self.scoring.matcher.parts if self.scoring else ()))

    def on_this_machine(self) -> Machine:
        """What the checklist has to know of this model here."""
        room = quantization.room_on(self.device)
        return Machine(self.precision, room, self.device.type != "cpu", self._in_fewer_bits)

    @cached_property
    def _in_fewer_bits(self) -> dict[str, int]:
        """Bytes of the weights by precision, counted once."""
        return quantization.in_fewer_bits(self.model, self._kept, self.device)

    def in_distribution(self, view: View) -> float | None:
        """How much a picture looks like what the model was trained on, 0..1; None where the checkpoint can't say."""
        model = self.scoring or self.answering
        if self._training_pictures is None or model is None or isinstance(model, WholeModel):
            return None
        (patches,), _ = model.features.patches([self.view.with_pixels(view)])
        return self._training_pictures.score(patches.features[0, model.family.leading_tokens :].cpu())

    # -- answering ------------------------------------------------------------------------------------------------

    def ask(
        self,
        image: Source | Sequence[Source],
        question: str,
        *,
        ocr: bool = False,
        evidence_only: bool = False,
        max_new_tokens: int | None = None,
        history: Sequence[Turn] = (),
        ocr_settings: OcrSettings = DEFAULT_OCR,
    ) -> Answer:
        """Answer a question about one picture or several; the same as the end of ``stream``."""
        stream = self.stream(
            image,
            question,
            ocr=ocr,
            evidence_only=evidence_only,
            max_new_tokens=max_new_tokens,
            history=history,
            ocr_settings=ocr_settings,
        )
        return answered(stream)

    def stream(
        self,
        image: Source | Sequence[Source],
        question: str,
        *,
        ocr: bool = False,
        evidence_only: bool = False,
        max_new_tokens: int | None = None,
        history: Sequence[Turn] = (),
        cancelled: Callable[[], bool] | None = None,
        system: str = "",
        sampling: Sampling = GREEDY,
        ocr_settings: OcrSettings = DEFAULT_OCR,
    ) -> Iterator[Event]:
        """Answer a question step by step. Closing the generator stops the work.

        All times, first token and total too, are of the computing alone: what whoever iterates does between two events
        counts nowhere.

        Args:
            image: a PIL image, array, path, bytes or file object, a ``images.open.Page`` of a file, or a list of them;
                [] asks about the history's pictures.
            question: passed to the model as it is, in the checkpoint's chat template.
            ocr: read the pictures' text first, and put it before the question; of a text that the context can't hold,
                the lines that have most to do with the question (``Answer.ocr`` says how much was left out).
            evidence_only: ask for "unknown" where nothing is seen.
            max_new_tokens: None = the checkpoint's own limit.
            history: earlier turns (``vlm_demo.Turn``), oldest first; their pictures count before ``image``.
            cancelled: asked between layers and tokens.
            system: a system message; see ``stages.prompt``.
            sampling: how tokens are chosen, and before which texts the answer ends.
            ocr_settings: in which languages text is read, and by which engine.
        Yields:
            StageEvents (view, ocr if asked for, prompt, encoder, bridge, prefill), TokenEvents, the StageEvent decode,
            and the Answer. Where the model began to repeat itself, or to write a text to stop at, the Answer is shorter
            than the last TokenEvent's text; the Answer counts.
        Raises:
            BadImage, BadQuestion, OcrUnavailable: one sentence for the person.
            UnsupportedModel: the model compares pictures with texts and writes nothing.
            Stopped: ``cancelled()`` turned True before the first token. Later, the Answer says ``stopped``.
        """
        return self.answer(
            Request(
                listed(image),
                question,
                ocr,
                evidence_only,
                max_new_tokens,
                tuple(history),
                cancelled,
                system,
                sampling,
                ocr_settings=ocr_settings,
            )
        )

    def answer(self, request: Request, turn: Turns = nullcontext, together: int = 1) -> Iterator[Event]:
        """As `stream`, for a request.

        Args:
            turn: entered for as long as the model is needed: after the pictures were opened and read, until the last
                token. Time spent waiting for it counts nowhere.
            together: how many answers that are written at a time may be computed together, this one among them.
        """
        clock = StageClock()
        with closing(self._events(request, clock, turn, together)) as events:
            for event in events:
                handed = time.perf_counter()
                yield event
                clock.pause(time.perf_counter() - handed)

    def _events(self, request: Request, clock: StageClock, turn: Turns, together: int) -> Generator[Event, None, None]:
        """From the upload to the answer. A time is taken before its event is handed over, never after."""
        model = self._answering()
        # 1) view, without the model
        opened = yield from open_views(request, self.view, clock)
        # 2) OCR, without the model too, so that the encoder may work meanwhile
        if request.ocr and isinstance(model, StagedModel):
            inputs = yield from read_text_and_encode(request, opened, self.reader, model.encode, turn, clock)
        else:
            inputs = yield from read_text(request, opened, self.reader, clock)
        with ExitStack() as held:
            with clock.left_out():
                held.enter_context(turn())
            # 3) to 7): prompt, encoder, bridge, prefill and decode
            outcome = yield from model.write(request, inputs, clock, self.cuts_repetition, together)
        # 8) the answer, which draws its own heatmaps
        yield self._answer(request, inputs, outcome, clock)

    def chat(
        self,
        messages: Sequence[chat_messages.Message] | Sequence[Sequence[chat_messages.Message]],
        *,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
        repetition_penalty: float | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Answer | list[Answer]:
        """Answer the last message of a conversation as transformers writes it; see ``chat_messages.read``::

            picture = {"type": "image", "image": "scene.png"}
            pipe.chat([{"role": "user", "content": [picture, {"type": "text", "text": "What is in it?"}]}]).text

        Args:
            messages: one conversation; or a list of them, which are answered one after the other, each as if alone.
            max_new_tokens: None = the checkpoint's own limit.
            temperature, top_p, top_k, seed, repetition_penalty, stop: see ``Sampling``; greedy where none is given.
        Returns:
            The Answer, or one for each conversation.
        Raises:
            BadSetting: a setting is out of its range.
            BadQuestion, BadImage, UnsupportedModel: as `stream` and ``chat_messages.read`` do.
        """
        sampling = Sampling(temperature, top_p, top_k, seed, repetition_penalty, stops(stop))
        if max_new_tokens is not None and max_new_tokens < 1:
            raise BadSetting(f"max_new_tokens can't be {max_new_tokens}: choose a number from 1 on.")
        batch = chat_messages.is_batch(messages)
        conversations: list[Any] = list(messages) if batch else [messages]
        read = [chat_messages.read(conversation, self.view.remote) for conversation in conversations]
        answers = []
        for asked in read:
            request = Request(
                asked.images,
                asked.question,
                max_new_tokens=max_new_tokens,
                history=asked.history,
                system=asked.system,
                sampling=sampling,
            )
            answers.append(answered(self.answer(request)))
        return answers if batch else answers[0]

    # -- explaining -----------------------------------------------------------------------------------------------

    def explain(
        self,
        image: Source | Sequence[Source],
        question: str,
        answer_text: str,
        *,
        ocr: bool = False,
        evidence_only: bool = False,
        history: Sequence[Turn] = (),
        ocr_settings: OcrSettings = DEFAULT_OCR,
    ) -> Answer:
        """The Answer with heatmaps and probabilities for a given text; nothing is generated.

        Raises:
            BadQuestion: question or answer are empty or too long.
            UnsupportedModel: the model writes no answers.
        """
        pictures = listed(image)
        request = Request(pictures, question, ocr, evidence_only, history=tuple(history), ocr_settings=ocr_settings)
        return self.read_answer(request, answer_text)

    def read_answer(self, request: Request, text: str, turn: Turns = nullcontext) -> Answer:
        """As `explain`, for a request; ``turn`` as in `answer`."""
        model = self.stages()
        ids = model.answer_ids(text)
        clock = StageClock()
        opened = result_of(open_views(request, self.view, clock))
        inputs = result_of(read_text(request, opened, self.reader, clock))
        with ExitStack() as held:
            with clock.left_out():
                held.enter_context(turn())
            outcome = model.read(request, inputs, ids, clock)
        return self._answer(request, inputs, outcome, clock)

    def heatmap(
        self,
        answer: Answer,
        word: str | Word | SupportsIndex,
        image: int = 0,
        method: str | None = None,
        layer: int | None = None,
        head: int | None = None,
        *,
        cancelled: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        """As `Answer.heatmap`, with every method of ``explain.methods.TABLE``: those that are not free read the answer,
        one of this pipeline's own, once more.

        Raises:
            WordNotInAnswer, VlmDemoError: as `Answer.heatmap` does; or this model can't offer the method.
            Stopped: ``cancelled()`` turned True.
        """
        return self.stages().explanations.heatmap(answer, MapRequest(word, image, method, layer, head), cancelled)

    def cells(self, answer: Answer, word: str | Word | SupportsIndex, **which: Any) -> np.ndarray:
        """What `heatmap` is drawn from: float [patches] of the picture, row by row of its view's grid. ``which`` are
        the other fields of `MapRequest`."""
        return self.stages().explanations.cells(answer, MapRequest(word, **which))

    def likelihoods(self, answer: Answer, masks: np.ndarray, image: int = 0) -> np.ndarray:
        """How likely the answer is with patches of one picture hidden behind a blur, each token with those before it
        given.

        Args:
            masks: bool [n, patches] of the picture's view, True = hidden.
            image: which of ``answer.views``.
        Returns:
            float32 [n, tokens], natural logarithms of the tokens' probabilities.
        """
        return self.stages().explanations.likelihoods(answer, masks, image)

    def heatmap_methods(self, answer: Answer) -> dict[str, str | None]:
        """The names of ``explain.methods.TABLE``, and why this answer can't have a map of it; None where it can."""
        return self.stages().explanations.methods(answer)

    def evidence(self, answer: Answer) -> Evidence:
        """What speaks for an answer with at least one word resting on the picture, or on text that was read in it: a
        batched pass and one to three more."""
        return self.stages().explanations.evidence(answer)

    def grounding(self, answer: Answer, *, cancelled: Callable[[], bool] | None = None) -> Grounding:
        """Whether an answer rests on the picture, or on text that was read in it: a badge, its score, and why.

        Raises:
            VlmDemoError: no attention was recorded.
            Stopped: ``cancelled()`` turned True.
        """
        return self.stages().explanations.grounding(answer, cancelled)

    def anatomy(self, answer: Answer, *, cancelled: Callable[[], bool] | None = None) -> Anatomy:
        """The inside of an answer of this pipeline, layer by layer, by one more pass; see ``contracts.anatomy``.

        Raises:
            UnsupportedModel: its stages are not known.
            VlmDemoError: the answer has no tokens.
            Stopped: ``cancelled()`` turned True.
        """
        return self.stages().explanations.anatomy(answer, cancelled)

    # -- scoring --------------------------------------------------------------------------------------------------

    def score(
        self,
        image: Source,
        texts: str | Sequence[str],
        *,
        cancelled: Callable[[], bool] | None = None,
        visitor: str = "",
    ) -> Scores:
        """How well each text fits the picture, compared with the others and, where the model can tell, by itself.

        Raises:
            BadImage, BadQuestion: the picture can't be opened; there is no text, or one is empty or too long.
            UnsupportedModel: the model has nothing to compare pictures with texts.
            Stopped: ``cancelled()`` turned True.
        """
        given = (texts,) if isinstance(texts, str) else tuple(texts)
        return self._scoring().score(image, given, cancelled, visitor)

    def relevancy(
        self,
        image: Source | View,
        text: str,
        *,
        cancelled: Callable[[], bool] | None = None,
        visitor: str = "",
    ) -> np.ndarray:
        """Which parts of a picture speak for a text, in a model that compares the two: float32 [H, W] in the upload's
        own pixels, 0..1.

        Raises:
            BadImage, BadQuestion: the picture can't be opened; the text is empty or too long.
            UnsupportedModel: the model has nothing to compare pictures with texts.
            Stopped: ``cancelled()`` turned True.
        """
        return self._scoring().heatmap(image, text, cancelled, visitor)

    # -- what it is composed of -----------------------------------------------------------------------------------

    def _answering(self) -> StagedModel | WholeModel:
        if self.answering is None:
            raise UnsupportedModel(
                f"{self.name} compares pictures with texts; it can't write answers. Use score, or choose a model that "
                "writes, such as llava."
            )
        return self.answering

    def _scoring(self) -> ScoringModel:
        if self.scoring is None:
            raise UnsupportedModel(
                f"{self.name} writes answers; it has no part that compares pictures with texts. Use ask, or choose a "
                "model that can, such as clip or blip2."
            )
        return self.scoring

    def _answer(self, request: Request, inputs: Inputs, outcome: Outcome, clock: StageClock) -> Answer:
        written = outcome.written
        answer = Answer(
            text=written.text,
            tokens=written.tokens,
            words=words_of(written.tokens),
            prompt=outcome.prompt,
            views=tuple(view.geometry for view in inputs.views),
            ocr=ocr_stage.merged(outcome.ocrs),
            ocrs=outcome.ocrs,
            timings=Timings(**clock.seconds, total=clock.total),
            memory=self.memory(),
            model=self.name,
            stopped=written.stopped,
            cut=written.cut,
            trace=outcome.trace,
            drawer=methods.RECORDED,
            asked=asked_in(request),
        )
        checks = checklist.first(answer, outcome.placed, self.on_this_machine(), self._reads_from)
        return replace(answer, checks=checks)


def listed(image: Source | Sequence[Source] | None) -> tuple[Source, ...]:
    """One picture or several as several; no picture as none."""
    if image is None:
        return ()
    if isinstance(image, Sequence) and not isinstance(image, str | bytes | bytearray | memoryview):
        return tuple(image)
    return (image,)
