"""Plain transformers on a pipeline's own weights: what the pipeline is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image

from vlm_demo import Pipeline, Turn
from vlm_demo.bench import timing
from vlm_demo.runtime import attention_tap, cpu_matmul

QUESTION = "What is the main object and what is it doing?"
SECOND = "And what is behind it?"


class TokenTimes:
    """Stands where transformers expects a streamer."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _value: torch.Tensor) -> None:
        self.times.append(timing.clock())

    def end(self) -> None:
        """Nothing is held back."""


class PlainTransformers:
    """Plain transformers on a pipeline's own weights: the same pixels and ids, then ``generate``, with SDPA
    attention."""

    def __init__(self, pipe: Pipeline) -> None:
        self.pipe = pipe

    def first(self, images: Sequence[Image.Image], history: Sequence[Turn] = ()) -> float:
        """Seconds from pictures and question to the first token."""
        return timing.timed(lambda: self._generate(images, 1, history))

    def pace(self, images: Sequence[Image.Image], tokens: int) -> float:
        """Tokens a second after the first one."""
        _, times = self._generate(images, tokens)
        return (tokens - 1) / (times[-1] - times[0])

    def with_attentions(self, images: Sequence[Image.Image], tokens: int) -> None:
        """Write an answer with all weights of the attention, as only eager attention gives them."""
        self._generate(images, tokens, attention="eager", return_dict_in_generate=True, output_attentions=True)

    @torch.no_grad()
    def _generate(
        self,
        images: Sequence[Image.Image],
        tokens: int,
        history: Sequence[Turn] = (),
        attention: str = "sdpa",
        **options: Any,
    ) -> tuple[list[int], list[float]]:
        """Prompt and answer, and when each token of the answer came."""
        pipe = self.pipe
        earlier: list[Any] = [image for turn in history for image in turn.images]
        views = [pipe.view(image) for image in (*earlier, *images)]
        places = [pipe.stages().llm.family.placeholders(view) for view in views]
        prompt = pipe.stages().prompt(SECOND if history else QUESTION, places, history=history)
        ids = torch.tensor([prompt.ids], device=pipe.device)
        values = torch.cat([view.pixel_values for view in views]).to(pipe.device, pipe.model.dtype)
        asked = {"do_sample": False, "max_new_tokens": tokens, "min_new_tokens": tokens}
        given = {"input_ids": ids, "pixel_values": values, "attention_mask": torch.ones_like(ids)}
        came = TokenTimes()
        with with_attention(pipe, attention), cpu_matmul.as_stored():
            made = pipe.model.generate(**given, **asked, **options, streamer=came)
        written = made.sequences if options else made
        return written[0].tolist(), came.times[1:]  # the prompt comes first


@contextmanager
def with_attention(pipe: Pipeline, name: str) -> Iterator[None]:
    """The language model with one of transformers' own attentions in place of the tapped one."""
    parts = pipe.stages().llm.family.tapped
    for part in parts:
        part.set_attn_implementation({"": name})
    try:
        yield
    finally:
        for part in parts:
            attention_tap.install(part)
