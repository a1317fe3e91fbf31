"""Staged model: an answer through stages that can each be inspected: prompt, vision encoder, bridge, language model.

Knows how the stages are joined; opening pictures and reading their text is done before, by ``inputs``.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from vlm_demo.checks import image_tokens
from vlm_demo.checks.calibration import Calibration
from vlm_demo.contracts import (
    BridgeInfo,
    Check,
    Conversation,
    HeatmapSettings,
    ImageTokens,
    OcrResult,
    Prompt,
    StageEvent,
    Trace,
    View,
)
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.contracts.events import BridgeFacts
from vlm_demo.errors import BadQuestion, ImageTokensMismatch
from vlm_demo.explain.itm_relevancy import ItmRelevancy
from vlm_demo.explain.teacher_forcing import TeacherForcing
from vlm_demo.models.adapters import Writer
from vlm_demo.models.loading import Loaded
from vlm_demo.models.quantization import room_on, stored_bytes
from vlm_demo.pipeline.decoding import GenerationOutcome, Written, decode
from vlm_demo.pipeline.explanations import Explanations
from vlm_demo.pipeline.facts import encoder_facts, prompt_facts
from vlm_demo.pipeline.inputs import Encoded, Inputs, conversation_of, result_of, text_of, with_pieces
from vlm_demo.runtime import attention_tap, cpu_matmul, ocr_excerpt
from vlm_demo.runtime.cancellation import CancellationHooks, Cancelled, check
from vlm_demo.runtime.detokenizer import Detokenizer
from vlm_demo.runtime.feature_cache import ImageTokenCache
from vlm_demo.runtime.json_grammar import JsonGrammars
from vlm_demo.runtime.lru_store import LruStore, budget_for
from vlm_demo.runtime.pixel_view import PixelView
from vlm_demo.runtime.stage_clock import StageClock
from vlm_demo.stages.bridge import Bridge
from vlm_demo.stages.encoder import Encoder
from vlm_demo.stages.llm import Llm
from vlm_demo.stages.prompt import PromptBuilder
from vlm_demo.stages.view import ViewMaker

MOST_GIVEN = 2048  # tokens of an answer that is given to be explained
PACKED_PART = 8  # the part of the free memory that a second copy of the weights may take
ANSWER_ROOM = 128  # tokens of the context that text read in pictures leaves to an answer of unknown length


@dataclass(frozen=True)
class Prefillable:
    """What the language model is given: the prompt, and the image tokens that go into it; ``placed`` says that they
    fit. ``ocrs`` is what was read in each picture, as far as the prompt has room for it."""

    prompt: Prompt
    image_tokens: ImageTokens
    placed: Check
    ocrs: tuple[OcrResult, ...]


class StagedModel:
    """A model that writes answers, and its stages, each callable alone: ``view``, ``prompt``, ``encoder``, ``bridge``
    and ``llm``. ``teacher_forcing`` reads answers once more; ``explanations`` draws heatmaps and badges with it."""

    def __init__(
        self,
        loaded: Loaded,
        family: Writer,
        guard: CancellationHooks,
        view: ViewMaker,
        store: LruStore,
        relevancy: ItmRelevancy | None,
        settings: HeatmapSettings,
        calibration: Calibration | None,
    ) -> None:
        guard.watch([*family.bridge_layers, *family.language_layers])
        for part in family.tapped:
            attention_tap.install(part)
        self.family, self.tokenizer, self.view = family, loaded.tokenizer, view
        # A tokenizer for it alone: to encode control strings as text switches its state, which no thread may see.
        self.prompt = PromptBuilder(
            copy.deepcopy(loaded.tokenizer), loaded.template, family.image_token_id, family.context, family.placeholder
        )
        self.encoder, self.bridge = Encoder(family, guard), Bridge(family, guard)
        self.llm = Llm(family, guard, loaded.model.generation_config, store, JsonGrammars(loaded.tokenizer))
        self.llm.batch.budget = budget_for(stored_bytes(loaded.model))
        parts = (*family.encoder_layers, family.language_model, family.head)
        cpu_matmul.pack(*parts, most=room_on(loaded.device) // PACKED_PART)
        self.features = ImageTokenCache(self.encoder, self.bridge, store)
        self.teacher_forcing = TeacherForcing(
            family, guard, view, self.features, self.llm, self.build_prompt, relevancy
        )
        self.explanations = Explanations(self.teacher_forcing, guard, calibration, loaded.tokenizer)
        self._settings = settings

    @property
    def holds_json(self) -> bool:
        """Whether answers can be held to a JSON schema."""
        return self.llm.grammars.usable

    @property
    def bridge_info(self) -> BridgeInfo:
        """How pictures get into the language model."""
        return self.family.bridge_info

    @property
    def explains(self) -> bool:
        """Whether attention is recorded, so that answers have heatmaps."""
        return self.llm.tapping

    def write(
        self, request: Request, inputs: Inputs, clock: StageClock, cuts_repetition: bool, together: int = 1
    ) -> Generator[Event, None, GenerationOutcome]:
        """Answer a request of which the pictures are opened and read.

        Args:
            together: how many answers may be computed together, this one among them.
        Yields:
            The StageEvents prompt, encoder, bridge and prefill, TokenEvents, and the StageEvent decode.
        Raises:
            BadQuestion: the prompt is too long.
            Stopped: ``request.cancelled()`` turned True before the first token.
        """
        prefillable = yield from self._prefillable(request, inputs, clock)
        settings = request.max_new_tokens, request.cancelled, request.sampling
        with ExitStack() as held:
            with clock.left_out():  # as other waiting is
                room = self.llm.room(prefillable.prompt, request.max_new_tokens, request.cancelled, together)
                held.enter_context(room)
            written = yield from decode(
                self.llm(prefillable.prompt, prefillable.image_tokens, *settings, together),
                prefillable.prompt,
                self.tokenizer,
                clock,
                limit=self.llm.limit(prefillable.prompt, request.max_new_tokens),
                sees_ahead=self.family.sees_ahead,
                stop=request.sampling.stop,
                cuts_repetition=cuts_repetition and request.sampling.schema is None,
            )
        return self._outcome(inputs, prefillable, written)

    def answer_ids(self, text: str) -> list[int]:
        """The tokens of a given answer.

        Raises:
            BadQuestion: it is empty, or too long.
        """
        ids = self.prompt.encode_text(text)
        if not text.strip() or not ids:
            raise BadQuestion("The answer to explain is empty: give at least one word.")
        if len(ids) > MOST_GIVEN:
            raise BadQuestion(f"The answer to explain has {len(ids):,} tokens, of at most {MOST_GIVEN:,}: shorten it.")
        return ids

    def read(self, request: Request, inputs: Inputs, ids: Sequence[int], clock: StageClock) -> GenerationOutcome:
        """Read a given answer in place of writing one, all its tokens in one pass.

        Raises:
            BadQuestion: prompt and answer are too long together.
            Stopped: ``request.cancelled()`` turned True.
        """
        prefillable = result_of(self._prefillable(request, inputs, clock))
        began = time.perf_counter()
        steps = self.llm.read(prefillable.prompt, prefillable.image_tokens, ids, request.cancelled)
        clock.since("prefill", began)
        text = Detokenizer(self.tokenizer)
        for step in steps:
            text.add(step.id, step.probability)
        text.finish()
        rows = tuple(attention_tap.halved(step.rows) for step in steps)
        tokens = tuple(replace(token, likeliest=step.likeliest) for token, step in zip(text.tokens, steps, strict=True))
        return self._outcome(inputs, prefillable, Written(text.text, tokens, rows, steps[-1].closing))

    def encode(self, views: Sequence[PixelView], cancelled: Cancelled | None = None) -> Encoded:
        """The patch features of each picture.

        Raises:
            Stopped: ``cancelled()`` turned True.
        """
        began = time.perf_counter()
        patches, cached = self.features.patches(views, cancelled)
        return Encoded(tuple(patches), cached, time.perf_counter() - began)

    def _prefillable(
        self, request: Request, inputs: Inputs, clock: StageClock
    ) -> Generator[StageEvent, None, Prefillable]:
        """Prompt, patch features and image tokens, after view and OCR."""
        # 3) prompt
        check(request.cancelled)
        began = time.perf_counter()
        prompt, ocrs = self._fitted(conversation_of(request), inputs, request.max_new_tokens)
        prompt = with_pieces(prompt, self.tokenizer)
        yield clock.since("prompt", began, prompt_facts(prompt, ocrs))

        # 4) encoder: pixels → patch features
        encoder_output = inputs.encoded or self.encode(inputs.views, request.cancelled)
        encoded = encoder_facts(
            self.family, inputs.views, encoder_output.patches, encoder_output.cached, inputs.encoded is not None
        )
        yield clock.done("encoder", encoder_output.seconds, encoded)

        # 5) bridge: patch features → image tokens
        began = time.perf_counter()
        tokens, cached = self.features.tokens(encoder_output.patches, prompt, request.cancelled)
        shapes = tuple((count, tokens.embeddings.shape[-1]) for count in tokens.counts)
        facts = BridgeFacts(
            encoded.features, shapes, self.bridge_info, len(inputs.views), cached, tokens.embeddings.nbytes
        )
        yield clock.since("bridge", began, facts)
        placed = self._placed(prompt, inputs.views, tokens)
        if not placed.values["fits"]:
            raise ImageTokensMismatch(placed)
        return Prefillable(prompt, tokens, placed, ocrs)

    def _placed(self, prompt: Prompt, views: Sequence[View], tokens: ImageTokens) -> Check:
        """Whether the image tokens fit the prompt."""
        family = self.family
        made = [
            image_tokens.made_of(view, count, family.leading_tokens, tokens.patch_weights is None)
            for view, count in zip(views, tokens.counts, strict=True)
        ]
        return image_tokens.check(prompt, made, family.image_token_id, family.context, marks=not family.among_words)

    def _fitted(
        self, conversation: Conversation, inputs: Inputs, answer_tokens: int | None
    ) -> tuple[Prompt, tuple[OcrResult, ...]]:
        """The prompt, and what was read as it stands in it, cut so that the context has room for an answer of so many
        tokens."""
        context = self.family.context
        limit = context - min(ANSWER_ROOM if answer_tokens is None else answer_tokens, context // 4)
        return ocr_excerpt.fitted(
            lambda ocrs: self.build_prompt(conversation, inputs.views, ocrs),
            inputs.ocrs,
            conversation.question,
            limit,
            self.prompt.encode_text,
        )

    def build_prompt(self, conversation: Conversation, views: Sequence[View], ocrs: Sequence[OcrResult]) -> Prompt:
        """The prompt for a question; what was read is of the last ones of its pictures."""
        return self.prompt(
            conversation.question,
            [self.family.placeholders(view) for view in views],
            ocr_text=text_of(ocrs),
            evidence_only=conversation.evidence_only,
            history=conversation.history,
            system=conversation.system,
        )

    def _outcome(self, inputs: Inputs, prefillable: Prefillable, written: Written) -> GenerationOutcome:
        trace = self._trace(inputs.views, prefillable.image_tokens, written)
        return GenerationOutcome(prefillable.prompt, written, trace, prefillable.placed, prefillable.ocrs)

    def _trace(self, views: Sequence[PixelView], tokens: ImageTokens, written: Written) -> Trace | None:
        rows = [row for row in written.rows if row]
        if not rows:
            return None
        image, text, first = (None if parts[0] is None else np.concatenate(parts) for parts in zip(*rows, strict=True))
        assert image is not None
        return Trace(
            image,
            text,
            first,
            counts=tokens.counts,
            leading=self.family.leading_tokens,
            settings=self._settings,
            patch_weights=attention_tap.half(tokens.patch_weights),
            patch_grids=tuple(view.patch_grids for view in views),
            closing=None if written.closing is None else attention_tap.half(written.closing.image),
        )
