"""Whole model: an answer of a model whose stages are unknown, in one piece, so without attention and heatmaps."""

from __future__ import annotations

import time
from collections.abc import Generator

from vlm_demo.checks import image_tokens
from vlm_demo.contracts import BridgeInfo
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.models.adapters.generate_only import GenerateOnly
from vlm_demo.models.loading import Loaded
from vlm_demo.pipeline.decoding import GenerationOutcome, decode
from vlm_demo.pipeline.facts import prompt_facts
from vlm_demo.pipeline.generate_fallback import GenerateFallback
from vlm_demo.pipeline.inputs import Inputs, text_of, with_pieces
from vlm_demo.runtime.cancellation import CancellationHooks, check
from vlm_demo.runtime.stage_clock import StageClock


class WholeModel:
    """A model that writes answers by its own processor and ``generate``."""

    explains = False

    def __init__(self, loaded: Loaded, family: GenerateOnly, guard: CancellationHooks) -> None:
        self.family, self.tokenizer = family, loaded.tokenizer
        self.fallback = GenerateFallback(family, guard, loaded.tokenizer, loaded.template)

    @property
    def holds_json(self) -> bool:
        """Whether answers can be held to a JSON schema."""
        return self.fallback.grammars.usable

    @property
    def bridge_info(self) -> BridgeInfo:
        """That it is not known how pictures get into the language model."""
        return self.family.bridge_info

    def write(
        self, request: Request, inputs: Inputs, clock: StageClock, cuts_repetition: bool, together: int = 1
    ) -> Generator[Event, None, GenerationOutcome]:
        """Answer a request of which the pictures are opened and read; each is computed alone.

        Yields:
            The StageEvents prompt and prefill, TokenEvents, and the StageEvent decode.
        Raises:
            BadQuestion, UnsupportedModel: the model's processor or chat template refuses the conversation.
            Stopped: ``request.cancelled()`` turned True before the first token.
        """
        # 3) prompt, and all that the model's own processor makes of the pictures
        check(request.cancelled)
        began = time.perf_counter()
        built = self.fallback.read(
            request.question,
            inputs.views,
            ocr_text=text_of(inputs.ocrs),
            evidence_only=request.evidence_only,
            history=request.history,
            system=request.system,
        )
        prompt = with_pieces(built.prompt, self.tokenizer)
        yield clock.since("prompt", began, prompt_facts(prompt, inputs.ocrs))
        # 4) everything else at once
        written = yield from decode(
            self.fallback.write(built.inputs, request.max_new_tokens, request.cancelled, request.sampling),
            prompt,
            self.tokenizer,
            clock,
            limit=self.fallback.limit(len(prompt.ids), request.max_new_tokens),
            sees_ahead=False,
            stop=request.sampling.stop,
            cuts_repetition=cuts_repetition and request.sampling.schema is None,
        )
        return GenerationOutcome(prompt, written, None, image_tokens.check(prompt, None), inputs.ocrs)
