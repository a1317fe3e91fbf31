"""LLM: image tokens + prompt → tokens, one at a time.

A plain generator over the language model: stop iterating and it stops. Knows token ids, not what they mean.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING

import torch

from vlm_demo.contracts import ImageTokens, Prompt
from vlm_demo.contracts.sampling import GREEDY, Sampling
from vlm_demo.errors import BadQuestion
from vlm_demo.runtime import attention_tap, batch_cache, cpu_matmul, kv_cache
from vlm_demo.runtime.json_grammar import JsonGrammars
from vlm_demo.runtime.logits import in_parts
from vlm_demo.runtime.lru_store import LruStore
from vlm_demo.runtime.prefix_cache import PrefixCache
from vlm_demo.stages.batching import Batch, RunningAnswer, StepOutput
from vlm_demo.stages.choosing import Step, TokenChoice, likeliest

if TYPE_CHECKING:
    from transformers import DynamicCache, GenerationConfig

    from vlm_demo.models.adapters import Writer
    from vlm_demo.runtime.cancellation import CancellationHooks, Cancelled

LONGEST_ANSWER = 256  # tokens, where neither the caller nor the checkpoint sets a limit
NATIVE_BF16_ROWS = 1  # answers in one step up to which torch's own bf16 product is the faster one


class Llm:
    """The language model. ``tapping = False`` records no attention: same tokens, no rows. Prompts whose image tokens
    have names are cached in ``store``."""

    def __init__(
        self,
        family: Writer,
        guard: CancellationHooks,
        generation: GenerationConfig,
        store: LruStore | None = None,
        grammars: JsonGrammars | None = None,
    ) -> None:
        self.grammars = grammars or JsonGrammars(None)
        self.family, self.guard, self.generation = family, guard, generation
        self.prefix_cache = PrefixCache(family, store or LruStore(0))
        self.tapping = True
        self.batch = Batch(self, guard)
        self._native_bf16 = {
            part: cpu_matmul.native_bf16_is_faster(part) for part in (family.language_model, family.head)
        }
        ends = generation.eos_token_id
        if ends is None:
            ends = family.language_model.config.eos_token_id
        self.ends = frozenset([] if ends is None else ends if isinstance(ends, list) else [ends])

    @cached_property
    def batches(self) -> bool:
        """Whether tokens of several answers can be computed together: all of a step's positions are known, and its
        attention looks at nothing but the words' own keys, of which every layer holds all."""
        language_model = self.family.language_model
        return (
            self.family.among_words
            and language_model in self.family.tapped
            and "position_ids" in signature(language_model.forward).parameters
            and batch_cache.can_be_joined(kv_cache.empty(language_model.config))
        )

    def room(
        self, prompt: Prompt, max_new_tokens: int | None, cancelled: Cancelled | None, together: int
    ) -> AbstractContextManager[None]:
        """Memory for an answer that may be computed ``together`` with others; waits while there is none.

        Raises:
            Stopped: ``cancelled()`` turned True while waiting.
        """
        tokens = len(prompt.ids) + self.limit(prompt, max_new_tokens)
        return self.batch.room(tokens, cancelled) if together > 1 else nullcontext()

    def __call__(
        self,
        prompt: Prompt,
        image_tokens: ImageTokens,
        max_new_tokens: int | None = None,
        cancelled: Cancelled | None = None,
        sampling: Sampling = GREEDY,
        together: int = 1,
    ) -> Generator[Step, None, attention_tap.Rows | None]:
        """Write until an end token (which is not yielded), the limit, or the end of the context.

        Args:
            prompt: the ids, and where image tokens go among them.
            image_tokens: embeddings [tokens of all pictures, d_llm].
            max_new_tokens: None = the checkpoint's own limit.
            cancelled: asked before every layer of every step.
            sampling: how each token is chosen; its ``stop`` is for those who read the tokens as text.
            together: how many answers that are written at a time may be computed together, this one among them; the
                caller holds ``room`` for it.
        Returns:
            The rows of the step that chose the end token, and so has read the whole answer; None where there was none.
        Raises:
            BadSetting: the answer can't be held to ``sampling.schema``.
            Stopped: ``cancelled()`` turned True.
        """
        # 0) what the answer is held to
        json_processor = None if sampling.schema is None else self.grammars.processor_for(sampling.schema, self.ends)
        choice = TokenChoice(sampling, self.generation, json_processor)
        limit = self.limit(prompt, max_new_tokens)
        # 1) prefill: what is not cached of the prompt, piece by piece
        prefill = self.prefix_cache.plan(prompt, image_tokens)
        ids = list(prompt.ids)
        row = RunningAnswer(prompt, image_tokens, prefill.cache, ids, choice, sampling, cancelled, limit - 1, together)

        def read_prompt() -> Step:
            embeddings = self.embed(prompt, image_tokens)
            *others, (start, stop) = prefill.pieces
            for first, last in others:
                self._forward(embeddings[:, first:last], row.cache, prompt, image_tokens, 0)
            step = self.choose(row, self._step(embeddings[:, start:stop], row))
            self.prefix_cache.insert(prefill)
            return step

        step = self.guard.run(read_prompt, cancelled, gives_way=True)
        step = replace(step, known=prefill.cached_tokens)
        self.batch.token_bytes = batch_cache.token_bytes(row.cache)
        # 2) decode: one token at a time, and nothing is held while the caller looks at it
        with self.batch.joined(row):
            for left in range(limit, 0, -1):
                if step.id in self.ends:
                    return step.rows
                yield step
                if left > 1:
                    step = self.batch.next(row)
        return None

    def read(
        self, prompt: Prompt, image_tokens: ImageTokens, answer: Sequence[int], cancelled: Cancelled | None = None
    ) -> list[Step]:
        """Read a given answer in one pass: for each of its tokens the step that would have had to write it.

        Raises:
            BadQuestion: prompt and answer together do not fit the context.
            Stopped: ``cancelled()`` turned True.
        """
        if len(prompt.ids) + len(answer) > self.family.context:
            raise BadQuestion(
                f"Prompt and answer are {len(prompt.ids) + len(answer)} tokens long together, but this model's context "
                f"holds {self.family.context}: shorten one of them."
            )

        def read_both() -> tuple[list[tuple[float, bool]], attention_tap.Rows | None]:
            embeddings = torch.cat([self.embed(prompt, image_tokens), self.embed_ids(answer)], 1)
            # The step before a token is the one that writes it; the one at the last token closes the answer.
            count = len(answer) + 1
            hidden, rows = self._forward(embeddings, None, prompt, image_tokens, count)
            found = list[tuple[float, bool]]()
            wanted = torch.as_tensor(answer, device=hidden.device)
            for logits in in_parts(self.family.head, hidden[0, -count:-1]):
                places = torch.arange(len(logits)), wanted[len(found) : len(found) + len(logits)]
                top = logits[places] >= logits.amax(-1)
                found += zip(logits.softmax(-1)[places].tolist(), top.tolist(), strict=True)
            return found, rows

        found, rows = self.guard.run(read_both, cancelled)
        steps = [
            Step(token, probability, rows and rows.step(i), likeliest=is_top)
            for i, (token, (probability, is_top)) in enumerate(zip(answer, found, strict=True))
        ]
        return [*steps[:-1], replace(steps[-1], closing=rows and rows.step(len(answer)))]

    def forward(self, rows: Sequence[RunningAnswer]) -> list[StepOutput]:
        """Read the last token of each answer, in one pass; what comes after each."""
        language_model = self.family.language_model
        embeddings = self.embed_ids([row.ids[-1] for row in rows])
        with cpu_matmul.native_bf16(self._native_bf16[language_model] and len(rows) <= NATIVE_BF16_ROWS):
            if len(rows) == 1:
                return [self._step(embeddings, rows[0])]
            positions, recorders = [], list[attention_tap.Recorder | None]()
            for row in rows:
                past_length = row.cache.get_seq_length()
                extra_inputs = self.family.language_model_inputs(
                    row.image_tokens, row.prompt, range(past_length, past_length + 1)
                )
                positions.append(
                    extra_inputs.get("position_ids", torch.tensor([[past_length]], device=embeddings.device))
                )
                tapped = self.tapping and bool(row.prompt.image_positions)
                columns = torch.tensor(row.prompt.image_positions)
                recorders.append(
                    attention_tap.Recorder(columns, 1, self.family.image_attentions, past_length + 1)
                    if tapped
                    else None
                )
            with attention_tap.recording_each(recorders):
                hidden = language_model(
                    inputs_embeds=embeddings.transpose(0, 1),
                    position_ids=torch.cat(positions, -2),
                    past_key_values=batch_cache.joined([row.cache for row in rows]),
                    use_cache=True,
                ).last_hidden_state
            logits = self.family.head(hidden[:, -1])
        return [(logits[i : i + 1], recorder.rows() if recorder else None) for i, recorder in enumerate(recorders)]

    def choose(self, row: RunningAnswer, output: StepOutput) -> Step:
        """The token after the last one of an answer, which is appended to it."""
        logits, rows = output
        chosen = row.choice(row.ids, logits)
        if chosen in self.ends:
            row.left = 0
        else:
            row.ids.append(chosen)
        probability = float(logits[0].float().softmax(-1)[chosen])
        return Step(chosen, probability, rows, alternatives=likeliest(logits[0], row.sampling.alternatives))

    def _step(self, embeddings: torch.Tensor, row: RunningAnswer) -> StepOutput:
        hidden, rows = self._forward(embeddings, row.cache, row.prompt, row.image_tokens, 1)
        with cpu_matmul.native_bf16(self._native_bf16[self.family.head]):
            return self.family.head(hidden[:, -1]), rows

    def _forward(
        self, embeddings: torch.Tensor, cache: DynamicCache | None, prompt: Prompt, image_tokens: ImageTokens, last: int
    ) -> tuple[torch.Tensor, attention_tap.Rows | None]:
        past_length = cache.get_seq_length() if cache is not None else 0
        inputs = {"inputs_embeds": embeddings, "past_key_values": cache, "use_cache": cache is not None}
        inputs |= self.family.language_model_inputs(
            image_tokens, prompt, range(past_length, past_length + embeddings.shape[1])
        )
        if not (self.tapping and last and prompt.image_positions):
            return self.family.language_model(**inputs).last_hidden_state, None
        columns = prompt.image_positions if self.family.among_words else None
        length = past_length + embeddings.shape[1]
        with attention_tap.recording(columns, last, self.family.image_attentions, length) as recorder:
            hidden = self.family.language_model(**inputs).last_hidden_state
        return hidden, recorder.rows()

    def embed(self, prompt: Prompt, image_tokens: ImageTokens) -> torch.Tensor:
        """The prompt's embeddings [1, tokens, d_llm], image tokens in their places if they stand among the words."""
        if not self.family.among_words:
            return self.embed_ids(prompt.ids)
        # What stands in the places of image tokens is overwritten; some vocabularies have no row for it.
        replaced = self.family.image_token_id
        embeddings = self.embed_ids([0 if token == replaced else token for token in prompt.ids])
        positions = torch.as_tensor(prompt.image_positions, device=embeddings.device)
        embeddings[0, positions] = image_tokens.embeddings.to(embeddings.device, embeddings.dtype)
        return embeddings

    def embed_ids(self, ids: Sequence[int]) -> torch.Tensor:
        """Embeddings [1, tokens, d_llm] of plain tokens."""
        return self.family.language_model.get_input_embeddings()(torch.tensor([list(ids)], device=self.guard.device))

    def limit(self, prompt: Prompt, max_new_tokens: int | None) -> int:
        """How many tokens an answer to this prompt has at most; ``max_new_tokens``: None = the checkpoint's own."""
        wanted = max_new_tokens if max_new_tokens is not None else self.generation.max_new_tokens
        # The token written last is never read, so a prompt that fills the context still gets one.
        return min(LONGEST_ANSWER if wanted is None else wanted, self.family.context - len(prompt.ids) + 1)
