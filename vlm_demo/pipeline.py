"""Pipeline: picture and question → answer, through view, OCR, prompt, encoder, bridge and language model.

The one place that knows all stations. Draws no page, prints nothing, and writes nothing to disk or log.
"""

from __future__ import annotations

import copy
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, SupportsIndex, cast

import numpy as np
import torch

from vlm_demo.contracts import (
    Answer,
    Asked,
    BridgeInfo,
    Grounding,
    ImageTokens,
    Memory,
    OcrResult,
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
from vlm_demo.contracts.engine import Event
from vlm_demo.engines.generate_fallback import GenerateFallback
from vlm_demo.errors import BadImage, BadQuestion, Stopped, UnsupportedModel
from vlm_demo.explain import methods, out_of_distribution
from vlm_demo.explain.calibration import Evidence, read_calibration
from vlm_demo.explain.grounding import gather, judge
from vlm_demo.explain.heatmap import interpolate, read_settings
from vlm_demo.explain.itm_relevancy import ItmRelevancy
from vlm_demo.explain.teacher_forcing import TeacherForcing
from vlm_demo.images.open import Source
from vlm_demo.models import loading, quantization
from vlm_demo.models.loading import Loaded, Progress
from vlm_demo.runtime import attention_tap, repetition
from vlm_demo.runtime.cancellation import CancellationHooks, Cancelled, check
from vlm_demo.runtime.detokenizer import Detokenizer, words_of
from vlm_demo.runtime.feature_cache import FeatureCache
from vlm_demo.runtime.lru_store import LruStore, budget_for
from vlm_demo.runtime.pixel_view import PixelView
from vlm_demo.runtime.scorer import Scorer
from vlm_demo.stages import ocr
from vlm_demo.stages.bridge import Bridge
from vlm_demo.stages.encoder import Encoder
from vlm_demo.stages.llm import Llm, Step
from vlm_demo.stages.prompt import PromptBuilder
from vlm_demo.stages.view import ViewMaker
from vlm_demo.trust import NONE, Trust


@dataclass
class _Work:
    """One question on its way through the stations. ``started`` moves on while somebody looks at an event."""

    question: str
    sources: list[Source]
    history: tuple[Turn, ...]
    ocr: bool
    evidence_only: bool
    cancelled: Cancelled | None
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    ocrs: tuple[OcrResult, ...] = ()
    rows: list[tuple[np.ndarray | None, ...] | None] = field(default_factory=list)
    closing: attention_tap.Rows | None = None
    cut: int = 0
    views: tuple[PixelView, ...] = field(init=False)
    prompt: Prompt = field(init=False)
    image_tokens: ImageTokens = field(init=False)

    def done(self, name: str, began: float, detail: str) -> StageEvent:
        self.seconds[name] = time.perf_counter() - began
        return StageEvent(name, self.seconds[name], detail)


class Pipeline:
    """A loaded model and its stations, each callable alone: ``view``, ``prompt``, ``encoder``, ``bridge``, ``llm``, and
    ``scorer`` where it compares pictures with texts. One that only does that has no ``prompt``, ``bridge`` and ``llm``.

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
        if family.as_a_whole:
            whole = GenerateFallback(family, guard, loaded.tokenizer, loaded.template)
            # It stands in the places of both, and nothing else of them is there.
            self.prompt, self.llm = cast(PromptBuilder, whole.read), cast(Llm, whole.write)
        elif self.can_answer:
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
        self._pictures = FeatureCache(self.encoder, getattr(self, "bridge", None), self.remembered)
        self._judge = ItmRelevancy(family, guard, self.scorer, self.view) if self.can_score else None
        if self.can_answer and not family.as_a_whole:
            self._again = TeacherForcing(
                family, guard, self.view, self._pictures, self.llm, self._judge, self._prompted
            )
        self._family = family
        self._settings = read_settings(loaded.folder)
        self._calibration = read_calibration(loaded.folder)
        self._world = out_of_distribution.load(loaded.folder)

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
    ) -> Pipeline:
        """Load an embedded model, a local folder, or a model of the Hugging Face hub; see ``models.loading.load``.

        Args:
            remember: the bytes that may be remembered of pictures and prompts; 0 = nothing, None = a quarter of the
                model's own, or 256 MiB if that is more.
            trust: what of the checkpoint may run here; nothing, unless asked for.
        """
        return cls(loading.load(os.fspath(name_or_folder_or_hub_id), quantize, device, progress, trust), remember)

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

    def in_world(self, view: View) -> float | None:
        """How much a picture looks like what the model was trained on, 0..1; None where the checkpoint can't say."""
        if self._world is None:
            return None
        (patches,), _ = self._pictures.patches([self.view.with_pixels(view)])
        return self._world.score(patches.features[0, self._family.leading_tokens :].cpu())

    def ask(
        self,
        image: Source | Sequence[Source],
        question: str,
        *,
        ocr: bool = False,
        evidence_only: bool = False,
        max_new_tokens: int | None = None,
        history: Sequence[Turn] = (),
    ) -> Answer:
        """Answer a question about one picture or several; the same as the end of ``stream``."""
        stream = self.stream(
            image,
            question,
            ocr=ocr,
            evidence_only=evidence_only,
            max_new_tokens=max_new_tokens,
            history=history,
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
    ) -> Iterator[Event]:
        """Answer a question, telling each step. Closing the generator stops the work.

        All times, first token and total too, are of the computing alone: what whoever iterates does between two events
        counts nowhere.

        Args:
            image: a PIL image, path, bytes or file object, or a list of them; [] asks about the history's pictures.
            question: passed to the model as it is, in the checkpoint's chat template.
            ocr: read the pictures' text with Tesseract first, and put it before the question.
            evidence_only: ask for "unknown" where nothing is seen.
            max_new_tokens: None = the checkpoint's own limit.
            history: earlier turns (``vlm_demo.Turn``), oldest first; their pictures count before ``image``.
            cancelled: asked between layers and tokens.
        Yields:
            StageEvents (view, ocr if asked for, prompt, encoder, bridge, prefill), TokenEvents, the StageEvent decode,
            and the Answer. Where the model began to repeat itself, the Answer is shorter than the last TokenEvent's
            text; the Answer counts.
        Raises:
            BadImage, BadQuestion, OcrUnavailable: one sentence for the person.
            UnsupportedModel: the model compares pictures with texts and writes nothing.
            Stopped: ``cancelled()`` turned True before the first token. Later, the Answer says ``stopped``.
        """
        work = _Work(question, _listed(image), tuple(history), ocr, evidence_only, cancelled)
        with closing(self._events(work, max_new_tokens)) as events:
            for event in events:
                handed = time.perf_counter()
                yield event
                work.started += time.perf_counter() - handed

    def _events(self, work: _Work, max_new_tokens: int | None) -> Generator[Event]:
        """The stations one after the other. A time is taken before its event is handed over, never after."""
        yield from self._prepare(work)
        writing, stopped = Detokenizer(self.tokenizer), False
        generation = self.llm(work.prompt, work.image_tokens, max_new_tokens, work.cancelled)
        began = time.perf_counter()
        step = self._next(generation, work)
        prefill = work.done("prefill", began, f"{len(work.prompt.ids)} tokens{self._prefilled(step)}")
        work.seconds["first_token"] = time.perf_counter() - work.started
        yield prefill
        decode = 0.0
        try:
            while step:
                work.rows.append(_halved(step.rows))
                yield TokenEvent(writing.add(step.id, step.probability), writing.text)
                if self.cuts_repetition and (period := repetition.period(writing.ids)):
                    texts = [token.text for token in writing.tokens]
                    work.cut = writing.keep(repetition.kept(writing.ids, texts, period))
                    del work.rows[len(writing.ids) :]
                    break
                began = time.perf_counter()
                step = self._next(generation, work)
                decode += time.perf_counter() - began
        except Stopped:
            stopped = True
        finally:
            generation.close()
        writing.finish()
        written = f"{len(writing.tokens) + work.cut} tokens" + (f", {work.cut} of them cut off" if work.cut else "")
        yield work.done("decode", time.perf_counter() - decode, written)
        yield self._answer(work, writing, stopped)

    def explain(
        self,
        image: Source | Sequence[Source],
        question: str,
        answer_text: str,
        *,
        ocr: bool = False,
        evidence_only: bool = False,
        history: Sequence[Turn] = (),
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
        work = _Work(question, _listed(image), tuple(history), ocr, evidence_only, None)
        for _ in self._prepare(work):
            pass
        began = time.perf_counter()
        writing = Detokenizer(self.tokenizer)
        for step in self.llm.read(work.prompt, work.image_tokens, ids):
            writing.add(step.id, step.probability)
            work.rows.append(_halved(step.rows))
            work.closing = step.closing
        work.done("prefill", began, "")
        writing.finish()
        return self._answer(work, writing, False)

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
        stages: list[StageEvent] = []

        def done(name: str, began: float, detail: str) -> None:
            stages.append(StageEvent(name, time.perf_counter() - began, detail))

        check(cancelled)
        began = time.perf_counter()
        view = self.view(image)
        pixels = _by(view.pixel_values.shape[:1:-1])
        done("view", began, f"{_by(view.size)} → {pixels}")
        began = time.perf_counter()
        coded = self.scorer.read(texts)
        done("texts", began, f"{len(texts)} × {coded.ids.shape[1]} tokens")
        began = time.perf_counter()
        (patches,), known = self._pictures.patches([view], cancelled)
        features = _by(patches.features.shape[1:])
        done("encoder", began, f"{pixels} → {features}{self._leading()}{_from_memory(known, 1)}")
        began = time.perf_counter()
        similarities = self.scorer.similarities(patches, coded, cancelled)
        done("compare", began, f"{features} with {len(texts)} texts")
        began = time.perf_counter()
        matches = self.scorer.matches(patches, coded, cancelled)
        if matches is not None:
            done("match", began, f"{features} and each of {len(texts)} texts together")
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

    def _prepare(self, work: _Work) -> Iterator[StageEvent]:
        """All stations before the language model."""
        self._require_answers()
        if not work.question.strip():
            raise BadQuestion("The question is empty: type what you want to know about the picture.")
        check(work.cancelled)
        began = time.perf_counter()
        earlier: list[Any] = [source for turn in work.history for source in turn.images]
        work.views = tuple(self.view(source) for source in (*earlier, *work.sources))
        if not work.views:
            raise BadImage("There is no picture: give at least one.")
        shapes = ", ".join(f"{_by(view.size)} → {_tiles([view])}" for view in work.views)
        yield work.done("view", began, shapes)

        if work.ocr:
            began = time.perf_counter()
            # The question's own pictures; in a follow-up without any, the earlier ones.
            shown = work.views[len(earlier) :] or work.views
            work.ocrs = tuple(ocr.read(view.image, work.cancelled) for view in shown)
            count = sum(len(result.words) for result in work.ocrs)
            yield work.done("ocr", began, f"{count} word{'s' * (count != 1)}")

        check(work.cancelled)
        began = time.perf_counter()
        asked = Asked(work.question, work.evidence_only, work.history)
        work.prompt = self._prompted(asked, work.views, work.ocrs)
        pieces = self.tokenizer.convert_ids_to_tokens(list(work.prompt.ids))
        work.prompt = replace(work.prompt, pieces=tuple(piece or "" for piece in pieces))
        texts = len(work.prompt.ids) - work.prompt.image_tokens
        yield work.done("prompt", began, f"{work.prompt.image_tokens} image + {texts} text tokens")
        if self._family.as_a_whole:
            work.image_tokens = ImageTokens(torch.empty(0), ())
            return

        began = time.perf_counter()
        patches, known = self._pictures.patches(work.views, work.cancelled)
        features = _times([_by(own.features.shape[1:]) for own in patches for _ in own.features])
        known_of = _from_memory(known, len(patches))
        yield work.done("encoder", began, f"{_tiles(work.views)} → {features}{self._leading()}{known_of}")

        began = time.perf_counter()
        work.image_tokens, known = self._pictures.tokens(patches, work.prompt, work.cancelled)
        width = work.image_tokens.embeddings.shape[-1]
        tokens = _times([f"{count}×{width}" for count in work.image_tokens.counts])
        known_of = _from_memory(known, len(patches))
        yield work.done("bridge", began, f"{features} → {tokens}, {self.note.text}{known_of}")

    def _prompted(self, asked: Asked, views: Sequence[View], ocrs: Sequence[OcrResult]) -> Prompt:
        """The prompt for a question; what was read is of the last ones of its pictures."""
        read = ocr.merged(ocrs)
        return self.prompt(
            asked.question,
            [self._family.placeholders(view) for view in views],
            ocr_text=read.text if read else "",
            evidence_only=asked.evidence_only,
            history=asked.history,
        )

    def _prefilled(self, step: Step | None) -> str:
        """What a memory has done for the prompt that this first step has read, in words."""
        if not self._family.as_a_whole and self._family.sees_ahead:
            return ", always all of them: each sees those after it"
        return f", {step.known} of them from memory" if step and step.known else ""

    def _leading(self) -> str:
        """What of the features stands for no patch, in words."""
        count = self._family.leading_tokens
        return f", {count} of them for the whole picture" if count else ""

    def _answer(self, work: _Work, writing: Detokenizer, stopped: bool) -> Answer:
        return Answer(
            text=writing.text,
            tokens=tuple(writing.tokens),
            words=words_of(writing.tokens),
            prompt=work.prompt,
            views=tuple(view.geometry for view in work.views),
            ocr=ocr.merged(work.ocrs),
            ocrs=work.ocrs,
            timings=Timings(**work.seconds, total=time.perf_counter() - work.started),
            memory=self.memory(),
            model=self.name,
            stopped=stopped,
            cut=work.cut,
            trace=self._trace(work),
            drawer=methods.RECORDED,
            asked=Asked(
                work.question,
                work.evidence_only,
                tuple(replace(turn, images=(None,) * len(turn.images)) for turn in work.history),
            ),
        )

    def _trace(self, work: _Work) -> Trace | None:
        rows = [row for row in work.rows if row]
        if not rows:
            return None
        image, text, first = (None if parts[0] is None else np.concatenate(parts) for parts in zip(*rows, strict=True))
        assert image is not None
        looks = _half(work.image_tokens.looks)
        leading = self._family.leading_tokens
        patch_grids = tuple(view.patch_grids for view in work.views)
        last = None if work.closing is None else _half(work.closing.image)
        counts = work.image_tokens.counts
        return Trace(image, text, first, counts, leading, self._settings, looks, patch_grids, last)

    @staticmethod
    def _next(generation: Generator[Step, None, attention_tap.Rows | None], work: _Work) -> Step | None:
        """The next step; None at the end, whose rows go to ``work``."""
        try:
            return next(generation)
        except StopIteration as end:
            work.closing = end.value
            return None


def _halved(rows: attention_tap.Rows | None) -> tuple[np.ndarray | None, ...] | None:
    """Half precision: a long answer of a large model holds a hundred million weights."""
    return None if rows is None else tuple(_half(part) for part in (rows.image, rows.text, rows.first))


def _half(weights: torch.Tensor | None) -> np.ndarray | None:
    return None if weights is None else weights.to(torch.float16).numpy()


def _listed(image: Any) -> list[Source]:
    if image is None:
        return []
    return list(image) if isinstance(image, list | tuple) else [image]


def _tiles(views: Sequence[PixelView]) -> str:
    """What the encoder gets, in words, e.g. ``7 × 24×24``."""
    return _times([_by(view.pixel_values.shape[:1:-1]) for view in views for _ in view.pixel_values])


def _times(shapes: Sequence[str]) -> str:
    """The same shapes together, e.g. ``2 × 4×64 + 9×64``."""
    return " + ".join(f"{count} × {shape}" if count > 1 else shape for shape, count in Counter(shapes).items())


def _from_memory(known: int, of: int) -> str:
    """How many of so many pictures were remembered, in words."""
    return "" if not known else ", from memory" if known == of else f", {known} of {of} from memory"


def _by(shape: Sequence[int]) -> str:
    return "×".join(str(int(length)) for length in shape)
