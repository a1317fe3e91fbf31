"""Pipeline: picture and question → answer, through view, OCR, prompt, encoder, bridge and language model.

The one place that knows all stations. Draws no page, prints nothing, and writes nothing to disk or log.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex

import numpy as np
import torch

from vlm_demo import chat_messages
from vlm_demo.contracts import (
    DEFAULT_OCR,
    Answer,
    Asked,
    BridgeInfo,
    Grounding,
    ImageTokens,
    Memory,
    OcrResult,
    OcrSettings,
    PatchFeatures,
    Prompt,
    Scores,
    StageEvent,
    Timings,
    TokenEvent,
    Trace,
    Turn,
    View,
    Word,
)
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.contracts.events import (
    BridgeFacts,
    CompareFacts,
    DecodeFacts,
    EncoderFacts,
    OcrFacts,
    PrefillFacts,
    PromptFacts,
    TextsFacts,
    ViewFacts,
)
from vlm_demo.contracts.sampling import GREEDY, Sampling, stops
from vlm_demo.engines.generate_fallback import GenerateFallback
from vlm_demo.errors import BadImage, BadQuestion, BadSetting, Stopped, UnsupportedModel
from vlm_demo.explain import methods, out_of_distribution
from vlm_demo.explain.calibration import Evidence, read_calibration
from vlm_demo.explain.grounding import gather, judge
from vlm_demo.explain.heatmap import interpolate, read_settings
from vlm_demo.explain.itm_relevancy import ItmRelevancy
from vlm_demo.explain.teacher_forcing import TeacherForcing
from vlm_demo.images.open import Source
from vlm_demo.models import loading, quantization
from vlm_demo.models.loading import Loaded, Progress
from vlm_demo.runtime import attention_tap, ocr_excerpt, repetition
from vlm_demo.runtime.cancellation import CancellationHooks, check
from vlm_demo.runtime.detokenizer import Detokenizer, words_of
from vlm_demo.runtime.feature_cache import FeatureCache
from vlm_demo.runtime.lru_store import LruStore, budget_for
from vlm_demo.runtime.pixel_view import PixelView
from vlm_demo.runtime.scorer import Scorer
from vlm_demo.runtime.stage_clock import StageClock
from vlm_demo.stages import ocr
from vlm_demo.stages.bridge import Bridge
from vlm_demo.stages.encoder import Encoder
from vlm_demo.stages.llm import Llm, Step
from vlm_demo.stages.prompt import PromptBuilder
from vlm_demo.stages.view import ViewMaker
from vlm_demo.trust import NONE, Trust

ANSWER_ROOM = 128  # tokens of the context that text read in pictures leaves to an answer of unknown length


@dataclass(frozen=True)
class _Prepared:
    """What the stations before the language model made of one question; ``image_tokens`` is None where the model makes
    them itself."""

    views: tuple[PixelView, ...]
    ocrs: tuple[OcrResult, ...]
    prompt: Prompt
    image_tokens: ImageTokens | None


@dataclass(frozen=True)
class _Written:
    """What the language model wrote, or read of a given answer.

    Attributes:
        text: its tokens and their texts.
        rows: the attention rows of each token's step, in half precision; None where none were recorded.
        closing: the rows of the step after the last token; None where it was not taken.
        cut: how many more tokens were cut off as repetition.
        stopped: the person stopped it.
    """

    text: Detokenizer
    rows: list[attention_tap.HalfRows | None]
    closing: attention_tap.Rows | None = None
    cut: int = 0
    stopped: bool = False


class _Steps:
    """A generation's steps; ``closing`` is what it returned at its end, the rows of the step after the last token."""

    def __init__(self, generation: Generator[Step, None, attention_tap.Rows | None]) -> None:
        self._generation = generation
        self.closing: attention_tap.Rows | None = None

    def next(self) -> Step | None:
        """The next step; None at the end."""
        try:
            return next(self._generation)
        except StopIteration as end:
            self.closing = end.value
            return None

    def close(self) -> None:
        self._generation.close()


class Pipeline:
    """A loaded model and its stations, each callable alone: ``view``, ``prompt``, ``encoder``, ``bridge``, ``llm``, and
    ``scorer`` where it compares pictures with texts. One that only does that, or that answers in one piece, has no
    ``prompt``, ``bridge`` and ``llm``.

    A chat goes on by handing over what was said before, oldest first. What was computed of pictures and prompts is
    remembered by their content, in ``remembered``, up to its budget of bytes: who asks about the same picture again
    gets the same answer, sooner. An answer whose end only repeats is cut there, unless ``cuts_repetition`` is turned
    off (to time a model of random weights)::

        from vlm_demo import Pipeline, Turn

        first = pipe.ask("scene.png", "What is in the image?")
        said = [Turn("What is in the image?", first.text, ("scene.png",))]
        pipe.ask([], "How many are there?", history=said)  # [] = about the earlier pictures
    """

    def __init__(self, loaded: Loaded, remember: int | None = None) -> None:
        family = loaded.family
        self.name, self.family, self.precision = loaded.name, family.name, loaded.precision
        self.folder = loaded.folder
        self.device, self.model = loaded.device, loaded.model
        self.cuts_repetition = True
        self.tokenizer, self.image_processor = loaded.tokenizer, loaded.image_processor
        self.can_answer, self.can_score = family.writes, family.matcher is not None
        budget = budget_for(quantization.memory_of(loaded.model).parameter_bytes) if remember is None else remember
        self.remembered = LruStore(budget)
        self._guard = guard = CancellationHooks(loaded.device)
        guard.watch(family.encoder_layers)
        self.view, self.encoder = ViewMaker(loaded.image_processor, family.cut), Encoder(family, guard)
        self._whole = GenerateFallback(family, guard, loaded.tokenizer, loaded.template) if family.as_a_whole else None
        if self.can_answer and not family.as_a_whole:
            guard.watch([*family.bridge_layers, *family.language_layers])
            for part in family.tapped:
                attention_tap.install(part)
            # A tokenizer of its own: to encode control strings as text switches its state, which no thread may see.
            self.prompt = PromptBuilder(
                copy.deepcopy(loaded.tokenizer),
                loaded.template,
                family.image_token_id,
                family.context,
                family.placeholder,
            )
            self.bridge = Bridge(family, guard)
            self.llm = Llm(family, guard, loaded.model.generation_config, self.remembered)
        if self.can_score:
            guard.watch(family.matcher.layers)
            self.scorer = Scorer(family.matcher, loaded.tokenizer, guard)
        self.reader = ocr.OcrReader(self.remembered)
        self._pictures = FeatureCache(self.encoder, getattr(self, "bridge", None), self.remembered)
        self._judge = ItmRelevancy(family, guard, self.scorer, self.view) if self.can_score else None
        if self.can_answer and not family.as_a_whole:
            self._again = TeacherForcing(
                family, guard, self.view, self._pictures, self.llm, self._judge, self._prompted
            )
        self._family = family
        self._settings = read_settings(loaded.folder)
        self._calibration = read_calibration(loaded.folder)
        self._training_pictures = out_of_distribution.load(loaded.folder)

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
    ) -> Pipeline:
        """Load an embedded model, a local folder, or a model of the Hugging Face hub; see ``models.loading.load``.

        Args:
            remember: the bytes that may be remembered of pictures and prompts; 0 = nothing, None = a quarter of the
                model's own, or 256 MiB if that is more.
            trust: what of the checkpoint may run here; nothing, unless asked for.
            dtype: of the weights, such as ``torch.float16`` or ``"float16"``; ``"auto"`` = as they are stored.
            device_map: ``"auto"``, ``"cpu"`` or ``"cuda"``, in place of ``device``: a model lies on one device.
            revision: a commit, branch or tag of a model of the hub.
        """
        where = loading.device_of(device_map, device)
        name = os.fspath(name_or_folder_or_hub_id)
        return cls(loading.load(name, quantize, where, progress, trust, dtype=dtype, revision=revision), remember)

    @property
    def can_explain(self) -> bool:
        """Whether answers have heatmaps."""
        return self.can_answer and not self._family.as_a_whole and self.llm.tapping

    @property
    def parameters(self) -> int | None:
        """How many the model has; None where it can't count them."""
        count = getattr(self.model, "num_parameters", None)
        return count() if count else None

    @property
    def note(self) -> BridgeInfo:
        """How pictures get into the language model."""
        return self._family.note

    def forget(self) -> None:
        """Remember no picture and no prompt from before."""
        self.remembered.clear()

    def memory(self) -> Memory:
        """Parameter bytes as they are stored, and the process's resident memory, measured now."""
        return quantization.memory_of(self.model, *(self._family.matcher.parts if self.can_score else ()))

    def in_distribution(self, view: View) -> float | None:
        """How much a picture looks like what the model was trained on, 0..1; None where the checkpoint can't say."""
        if self._training_pictures is None:
            return None
        (patches,), _ = self._pictures.patches([self.view.with_pixels(view)])
        return self._training_pictures.score(patches.features[0, self._family.leading_tokens :].cpu())

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
        return next(event for event in stream if isinstance(event, Answer))

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
        """Answer a question, telling each step. Closing the generator stops the work.

        All times, first token and total too, are of the computing alone: what whoever iterates does between two events
        counts nowhere.

        Args:
            image: a PIL image, path, bytes or file object, or a list of them; [] asks about the history's pictures.
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
        images = tuple(_listed(image))
        request = Request(
            images,
            question,
            ocr,
            evidence_only,
            max_new_tokens,
            tuple(history),
            cancelled,
            system,
            sampling,
            ocr_settings,
        )
        clock = StageClock()
        with closing(self._events(request, clock)) as events:
            for event in events:
                handed = time.perf_counter()
                yield event
                clock.pause(time.perf_counter() - handed)

    def _events(self, request: Request, clock: StageClock) -> Generator[Event]:
        """The stations one after the other. A time is taken before its event is handed over, never after."""
        # 1) view, OCR, prompt, encoder, bridge
        prepared = yield from self._prepare(request, clock)
        # 2) the language model
        written = yield from self._write(request, prepared, clock)
        # 3) the answer
        yield self._answer(request, prepared, written, clock)

    def _write(self, request: Request, prepared: _Prepared, clock: StageClock) -> Generator[Event, None, _Written]:
        """Prefill, then one token at a time until the model ends, repeats itself or is stopped."""
        text, stopped, cut = Detokenizer(self.tokenizer), False, 0
        rows: list[attention_tap.HalfRows | None] = []
        steps = _Steps(self._generation(request, prepared))
        # 1) prefill, which ends with the first token
        began = time.perf_counter()
        step = steps.next()
        facts = PrefillFacts(len(prepared.prompt.ids), step.known if step else 0, self._sees_ahead)
        prefill = clock.since("prefill", began, facts)
        clock.seconds["first_token"] = clock.total
        yield prefill
        # 2) decode
        decode = 0.0
        try:
            while step:
                rows.append(attention_tap.halved(step.rows))
                token = text.add(step.id, step.probability)
                ended = text.end_before(request.sampling.stop)
                yield TokenEvent(token, text.text)
                if ended:
                    del rows[len(text.ids) :]
                    break
                if self.cuts_repetition and (period := repetition.period(text.ids)):
                    texts = [token.text for token in text.tokens]
                    cut = text.keep(repetition.kept(text.ids, texts, period))
                    del rows[len(text.ids) :]
                    break
                began = time.perf_counter()
                step = steps.next()
                decode += time.perf_counter() - began
        except Stopped:
            stopped = True
        finally:
            steps.close()
        text.finish()
        yield clock.done("decode", decode, DecodeFacts(len(text.tokens) + cut, cut))
        return _Written(text, rows, steps.closing, cut, stopped)

    def _generation(self, request: Request, prepared: _Prepared) -> Generator[Step, None, attention_tap.Rows | None]:
        if self._whole:
            return self._whole.write(prepared.prompt, request.max_new_tokens, request.cancelled, request.sampling)
        assert prepared.image_tokens is not None
        return self.llm(
            prepared.prompt, prepared.image_tokens, request.max_new_tokens, request.cancelled, request.sampling
        )

    @property
    def _sees_ahead(self) -> bool:
        """Whether words of the prompt see those after them, so that nothing of it is remembered."""
        return self._whole is None and self._family.sees_ahead

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
        asked = [chat_messages.read(own) for own in conversations]
        answers = []
        for own in asked:
            stream = self.stream(
                own.images,
                own.question,
                max_new_tokens=max_new_tokens,
                history=own.history,
                system=own.system,
                sampling=sampling,
            )
            answers.append(next(event for event in stream if isinstance(event, Answer)))
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
        self._require_stages()
        ids = self.prompt.encode_text(answer_text)
        if not answer_text.strip() or not ids:
            raise BadQuestion("The answer to explain is empty: give at least one word.")
        images = tuple(_listed(image))
        request = Request(images, question, ocr, evidence_only, None, tuple(history), ocr_settings=ocr_settings)
        clock = StageClock()
        prepared = _result(self._prepare(request, clock))
        assert prepared.image_tokens is not None
        began = time.perf_counter()
        text, last = Detokenizer(self.tokenizer), None
        rows: list[attention_tap.HalfRows | None] = []
        for step in self.llm.read(prepared.prompt, prepared.image_tokens, ids):
            text.add(step.id, step.probability)
            rows.append(attention_tap.halved(step.rows))
            last = step.closing
        clock.since("prefill", began)
        text.finish()
        return self._answer(request, prepared, _Written(text, rows, last), clock)

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
        self._require_stages()
        made = methods.request(answer, word, image, method, layer, head, self._again)
        with self._guard.stoppable(cancelled):
            return methods.draw(*made)

    def cells(
        self,
        answer: Answer,
        word: str | Word | SupportsIndex,
        image: int = 0,
        method: str | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> np.ndarray:
        """What `heatmap` is drawn from: float [patches] of the picture, row by row of its view's grid."""
        self._require_stages()
        chosen, request = methods.request(answer, word, image, method, layer, head, self._again)
        return chosen.cells(request)

    def likelihoods(self, answer: Answer, masks: np.ndarray, image: int = 0) -> np.ndarray:
        """How likely the answer is with patches of one picture hidden behind a blur, each token with those before it
        given.

        Args:
            masks: bool [n, patches] of the picture's view, True = hidden.
            image: which of ``answer.views``.
        Returns:
            float32 [n, tokens], natural logarithms of the tokens' probabilities.
        """
        self._require_stages()
        return self._again.likelihoods(answer, image, masks)

    def heatmap_methods(self, answer: Answer) -> dict[str, str | None]:
        """The names of ``explain.methods.TABLE``, and why this answer can't have a map of it; None where it can."""
        self._require_stages()
        return methods.offered(answer, self._again)

    def evidence(self, answer: Answer) -> Evidence:
        """What speaks for an answer with at least one word resting on the picture, or on text that was read in it: a
        batched pass and one to three more."""
        self._require_stages()
        return gather(answer, self._again)

    def grounding(self, answer: Answer, *, cancelled: Callable[[], bool] | None = None) -> Grounding:
        """Whether an answer rests on the picture, or on text that was read in it: a badge, its score, and why.

        Raises:
            VlmDemoError: no attention was recorded.
            Stopped: ``cancelled()`` turned True.
        """
        self._require_stages()
        with self._guard.stoppable(cancelled):
            return judge(answer, self._again, self._calibration)

    def relevancy(self, image: Source | View, text: str) -> np.ndarray:
        """Which parts of a picture speak for a text, in a model that compares the two: float32 [H, W] in the upload's
        own pixels, 0..1.

        Raises:
            BadImage, BadQuestion: the picture can't be opened; the text is empty or too long.
            UnsupportedModel: the model has nothing to compare pictures with texts.
        """
        if self._judge is None:
            raise self._no_scores()
        view = image if isinstance(image, View) else self.view(image)
        return interpolate(self._judge.relevancy(view, text), view)

    def score(
        self, image: Source, texts: str | Sequence[str], *, cancelled: Callable[[], bool] | None = None
    ) -> Scores:
        """How well each text fits the picture, compared with the others and, where the model can tell, by itself.

        Raises:
            BadImage, BadQuestion: the picture can't be opened; there is no text, or one is empty or too long.
            UnsupportedModel: the model has nothing to compare pictures with texts.
            Stopped: ``cancelled()`` turned True.
        """
        if not self.can_score:
            raise self._no_scores()
        texts = (texts,) if isinstance(texts, str) else tuple(texts)
        clock = StageClock()
        stages: list[StageEvent] = []
        check(cancelled)
        began = time.perf_counter()
        view = self.view(image)
        stages.append(clock.since("view", began, _view_facts([view])))
        began = time.perf_counter()
        coded = self.scorer.read(texts)
        stages.append(clock.since("texts", began, TextsFacts(len(texts), coded.ids.shape[1])))
        began = time.perf_counter()
        (patches,), known = self._pictures.patches([view], cancelled)
        features = tuple(patches.features.shape[1:])
        stages.append(clock.since("encoder", began, self._encoder_facts([view], [patches], known)))
        began = time.perf_counter()
        similarities = self.scorer.similarities(patches, coded, cancelled)
        stages.append(clock.since("compare", began, CompareFacts(features, len(texts))))
        began = time.perf_counter()
        matches = self.scorer.matches(patches, coded, cancelled)
        if matches is not None:
            stages.append(clock.since("match", began, CompareFacts(features, len(texts), together=True)))
        return Scores(
            texts=texts,
            probabilities=tuple(self.scorer.probabilities(similarities).tolist()),
            similarities=tuple(similarities.tolist()),
            temperature=self.scorer.matcher.temperature,
            matches=None if matches is None else tuple(matches.tolist()),
            view=view.geometry,
            stages=tuple(stages),
            model=self.name,
        )

    def _no_scores(self) -> UnsupportedModel:
        return UnsupportedModel(
            f"{self.name} writes answers; it has no part that compares pictures with texts. Use ask, or choose a model "
            "that can, such as clip or blip2."
        )

    def _require_answers(self) -> None:
        if not self.can_answer:
            raise UnsupportedModel(
                f"{self.name} compares pictures with texts; it can't write answers. Use score, or choose a model that "
                "writes, such as llava."
            )

    def _require_stages(self) -> None:
        self._require_answers()
        if self._family.as_a_whole:
            raise UnsupportedModel(f"{self.note.text}: choose a model whose stages are known.")

    def _prepare(self, request: Request, clock: StageClock) -> Generator[StageEvent, None, _Prepared]:
        """All stations before the language model."""
        self._require_answers()
        if not request.question.strip():
            raise BadQuestion("The question is empty: type what you want to know about the picture.")
        check(request.cancelled)
        # 1) view: the pictures of the history first
        began = time.perf_counter()
        earlier: list[Any] = [source for turn in request.history for source in turn.images]
        views = tuple(self.view(source) for source in (*earlier, *request.images))
        if not views:
            raise BadImage("There is no picture: give at least one.")
        yield clock.since("view", began, _view_facts(views))

        # 2) OCR of the question's own pictures; in a follow-up without any, of the earlier ones
        ocrs: tuple[OcrResult, ...] = ()
        if request.ocr:
            began = time.perf_counter()
            shown = views[len(earlier) :] or views
            ocrs = tuple(self.reader(view.image, request.ocr_settings, request.cancelled) for view in shown)
            words, known = sum(len(result.words) for result in ocrs), sum(result.cached for result in ocrs)
            yield clock.since("ocr", began, OcrFacts(words, len(ocrs), known))

        # 3) prompt
        check(request.cancelled)
        began = time.perf_counter()
        asked = Asked(request.question, request.evidence_only, request.history, request.system)
        prompt, ocrs = self._fitted(asked, views, ocrs, request.max_new_tokens)
        pieces = self.tokenizer.convert_ids_to_tokens(list(prompt.ids))
        prompt = replace(prompt, pieces=tuple(piece or "" for piece in pieces))
        texts = len(prompt.ids) - prompt.image_tokens
        left_out = sum(result.left_out for result in ocrs)
        yield clock.since("prompt", began, PromptFacts(prompt.image_tokens, texts, left_out))
        if self._whole:
            return _Prepared(views, ocrs, prompt, None)

        # 4) encoder: patch features
        began = time.perf_counter()
        patches, cached = self._pictures.patches(views, request.cancelled)
        encoded = self._encoder_facts(views, patches, cached)
        yield clock.since("encoder", began, encoded)

        # 5) bridge: image tokens
        began = time.perf_counter()
        tokens, cached = self._pictures.tokens(patches, prompt, request.cancelled)
        shapes = tuple((count, tokens.embeddings.shape[-1]) for count in tokens.counts)
        facts = BridgeFacts(encoded.features, shapes, self.note, len(views), cached, tokens.embeddings.nbytes)
        yield clock.since("bridge", began, facts)
        return _Prepared(views, ocrs, prompt, tokens)

    def _fitted(
        self, asked: Asked, views: Sequence[View], ocrs: tuple[OcrResult, ...], answer: int | None
    ) -> tuple[Prompt, tuple[OcrResult, ...]]:
        """The prompt, and what was read as it stands in it, cut so that the context has room for an answer of so many
        tokens."""
        if self._whole:
            return self._prompted(asked, views, ocrs), ocrs
        context = self._family.context
        most = context - min(ANSWER_ROOM if answer is None else answer, context // 4)
        return ocr_excerpt.fitted(
            lambda readings: self._prompted(asked, views, readings), ocrs, asked.question, most, self.prompt.encode_text
        )

    def _prompted(self, asked: Asked, views: Sequence[View], ocrs: Sequence[OcrResult]) -> Prompt:
        """The prompt for a question; what was read is of the last ones of its pictures."""
        read = ocr.merged(ocrs)
        text = read.text if read else ""
        if self._whole:
            return self._whole.read(
                asked.question,
                views,
                ocr_text=text,
                evidence_only=asked.evidence_only,
                history=asked.history,
                system=asked.system,
            )
        return self.prompt(
            asked.question,
            [self._family.placeholders(view) for view in views],
            ocr_text=text,
            evidence_only=asked.evidence_only,
            history=asked.history,
            system=asked.system,
        )

    def _encoder_facts(self, views: Sequence[PixelView], patches: Sequence[PatchFeatures], cached: int) -> EncoderFacts:
        return EncoderFacts(
            tiles=tuple(tile for view in views for tile in _tiles(view)),
            features=tuple(tuple(own.features.shape[1:]) for own in patches for _ in own.features),
            leading=self._family.leading_tokens,
            pictures=len(patches),
            cached=cached,
            bytes=sum(own.features.nbytes for own in patches),
        )

    def _answer(self, request: Request, prepared: _Prepared, written: _Written, clock: StageClock) -> Answer:
        tokens = tuple(written.text.tokens)
        return Answer(
            text=written.text.text,
            tokens=tokens,
            words=words_of(tokens),
            prompt=prepared.prompt,
            views=tuple(view.geometry for view in prepared.views),
            ocr=ocr.merged(prepared.ocrs),
            ocrs=prepared.ocrs,
            timings=Timings(**clock.seconds, total=clock.total),
            memory=self.memory(),
            model=self.name,
            stopped=written.stopped,
            cut=written.cut,
            trace=self._trace(prepared, written),
            drawer=methods.RECORDED,
            asked=Asked(
                request.question,
                request.evidence_only,
                tuple(replace(turn, images=(None,) * len(turn.images)) for turn in request.history),
                request.system,
            ),
        )

    def _trace(self, prepared: _Prepared, written: _Written) -> Trace | None:
        rows = [row for row in written.rows if row]
        if not rows or prepared.image_tokens is None:
            return None
        image, text, first = (None if parts[0] is None else np.concatenate(parts) for parts in zip(*rows, strict=True))
        assert image is not None
        return Trace(
            image,
            text,
            first,
            counts=prepared.image_tokens.counts,
            leading=self._family.leading_tokens,
            settings=self._settings,
            looks=attention_tap.half(prepared.image_tokens.looks),
            patch_grids=tuple(view.patch_grids for view in prepared.views),
            closing=None if written.closing is None else attention_tap.half(written.closing.image),
        )


def _listed(image: Any) -> list[Source]:
    if image is None:
        return []
    return list(image) if isinstance(image, list | tuple) else [image]


def _tiles(view: PixelView) -> tuple[tuple[int, int], ...]:
    """(width, height) of each tile of one picture."""
    height, width = view.pixel_values.shape[-2:]
    return ((width, height),) * len(view.pixel_values)


def _view_facts(views: Sequence[PixelView]) -> ViewFacts:
    return ViewFacts(tuple(view.size for view in views), tuple(_tiles(view) for view in views))


def _result(preparing: Generator[StageEvent, None, _Prepared]) -> _Prepared:
    """What the stations made, their events unheard."""
    while True:
        try:
            next(preparing)
        except StopIteration as end:
            return end.value
