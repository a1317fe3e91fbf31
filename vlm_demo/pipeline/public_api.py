"""Pipeline as programs use it. What a loaded model is made of is in ``composition``, the steps from uploads to the
answer are in ``answering``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, SupportsIndex

import numpy as np
import torch

from vlm_demo import chat_messages
from vlm_demo.contracts import (
    DEFAULT_OCR,
    Anatomy,
    Answer,
    Evidence,
    Grounding,
    MapRequest,
    OcrSettings,
    Scores,
    Turn,
    View,
    Word,
)
from vlm_demo.contracts.engine import Event, Request, answered
from vlm_demo.contracts.sampling import GREEDY, Sampling, stops
from vlm_demo.errors import BadSetting
from vlm_demo.images.open import Source
from vlm_demo.images.remote_pictures import RemotePictures
from vlm_demo.models import loading
from vlm_demo.models.loading import Loaded, Progress
from vlm_demo.pipeline import answering
from vlm_demo.pipeline.composition import ComposedModel
from vlm_demo.pipeline.inputs import Turns, as_several
from vlm_demo.runtime import compute_thread
from vlm_demo.trust import NONE, Trust


class Pipeline(ComposedModel):
    """A loaded model. ``stages()`` gives the stages of one that writes answers, each callable alone.

    A chat goes on by passing its earlier turns, oldest first. What was computed of pictures and prompts is
    remembered by their content, in ``remembered``, up to its budget of bytes: who asks about the same picture again
    gets the same answer, sooner. An answer whose end only repeats is cut there, unless ``cuts_repetition`` is turned
    off (to time a model of random weights)::

        from vlm_demo import Pipeline, Turn

        first = pipe.ask("scene.png", "What is in the image?")
        before = [Turn("What is in the image?", first.text, ("scene.png",))]
        pipe.ask([], "How many are there?", history=before)  # [] = about the earlier pictures
    """

    cuts_repetition = True

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
        own_thread: bool = False,
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
            own_thread: compute in one thread, whoever asks, as is faster on a CPU for a server, which answers in many;
                torch in other threads keeps to one core from then on. See ``runtime.compute_thread``.
        """
        remote = RemotePictures(image_hosts)
        where = loading.device_of(device_map, device)
        name = os.fspath(name_or_folder_or_hub_id)
        own_thread = own_thread and loading.check(quantize, where).type == "cpu"

        def load() -> Loaded:
            return loading.load(name, quantize, where, progress, trust, dtype=dtype, revision=revision)

        return cls(compute_thread.elsewhere(load) if own_thread else load(), remember, remote, own_thread)

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

        All times, first token and total too, are of the computing alone: the consumer's time between two events is not
        measured.

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
                as_several(image),
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
                token. Time spent waiting for it is not measured.
            together: how many answers that are written at a time may be computed together, this one among them.
        """
        return answering.answer_events(self, request, turn, self.cuts_repetition, together)

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
        parsed = [chat_messages.read(conversation, self.view.remote) for conversation in conversations]
        answers = [answered(self.answer(conversation.request(max_new_tokens, sampling))) for conversation in parsed]
        return answers if batch else answers[0]

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
        turns = tuple(history)
        request = Request(as_several(image), question, ocr, evidence_only, history=turns, ocr_settings=ocr_settings)
        return self.read_answer(request, answer_text)

    def read_answer(self, request: Request, text: str, turn: Turns = nullcontext) -> Answer:
        """As `explain`, for a request; ``turn`` as in `answer`."""
        return answering.read_answer(self, request, text, turn)

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
        """The evidence that an answer with at least one word rests on the picture, or on text that was read in it: a
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

    def score(
        self,
        image: Source,
        texts: str | Sequence[str],
        *,
        cancelled: Callable[[], bool] | None = None,
        visitor: str = "",
    ) -> Scores:
        """How well each text fits the picture, compared with the others and, where the model can, by itself.

        Raises:
            BadImage, BadQuestion: the picture can't be opened; there is no text, or one is empty or too long.
            UnsupportedModel: the model has nothing to compare pictures with texts.
            Stopped: ``cancelled()`` turned True.
        """
        given = (texts,) if isinstance(texts, str) else tuple(texts)
        return self.part_that_scores().score(image, given, cancelled, visitor)

    def relevancy(
        self,
        image: Source | View,
        text: str,
        *,
        cancelled: Callable[[], bool] | None = None,
        visitor: str = "",
    ) -> np.ndarray:
        """Which parts of a picture match a text, in a model that compares the two: float32 [H, W] in the upload's
        own pixels, 0..1.

        Raises:
            BadImage, BadQuestion: the picture can't be opened; the text is empty or too long.
            UnsupportedModel: the model has nothing to compare pictures with texts.
            Stopped: ``cancelled()`` turned True.
        """
        return self.part_that_scores().heatmap(image, text, cancelled, visitor)
