"""OpenVINO reference: a pipeline's encoder and prefill, converted for the input shape that is timed → a first token.

They compute in the pipeline's precision and with its number of threads. Image processor and prompt are the pipeline's.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import DynamicCache

from vlm_demo import Pipeline
from vlm_demo.errors import VlmDemoError
from vlm_demo.models import loading

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


class Reference:
    """Encoder and prefill of a LLaVA on the CPU, in OpenVINO; it holds a second copy of the weights.

    Args:
        pipe: with a plain attention of transformers in place of the tapped one during construction.
        images, question: what is asked; other pictures of the same number have the same shape.
    Raises:
        VlmDemoError: OpenVINO is not installed, or the pipeline is not on the CPU; says what to do.
    """

    def __init__(self, pipe: Pipeline, images: Sequence[Image.Image], question: str) -> None:
        openvino = import_openvino()
        if pipe.device.type != "cpu":
            raise VlmDemoError("OpenVINO is compared with on the CPU alone: leave out --openvino here.")
        self.pipe, self.question = pipe, question
        options = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[pipe.model.dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        core = openvino.Core()

        def converted(part: nn.Module, example: Tensor) -> Any:
            model = openvino.convert_model(part.eval(), example_input=example)
            model.reshape(list(example.shape))
            return core.compile_model(model, "CPU", options)

        pixels, ids = self._inputs(images)
        with torch.no_grad(), loading.quiet():
            encoder, prefill = _Encoder(pipe), _Prefill(pipe)
            self.encoder = converted(encoder, pixels)
            self.prefill = converted(prefill, self._embedded(ids, encoder(pixels)))

    def __call__(self, images: Sequence[Image.Image]) -> int:
        """The id of the first token, greedy."""
        pixels, ids = self._inputs(images)
        tokens = torch.from_numpy(self.encoder([pixels.numpy()])[0])
        logits = self.prefill([self._embedded(ids, tokens).numpy()])[0]
        return int(logits[0].argmax())

    def _inputs(self, images: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        """Pixels float32 [images, 3, height, width], and the prompt's ids [1, tokens]."""
        pipe = self.pipe
        views = [pipe.view(image) for image in images]
        places = [pipe.stages().llm.family.placeholders(view) for view in views]
        prompt = pipe.stages().prompt(self.question, places)
        return torch.cat([view.pixel_values for view in views]).float(), torch.tensor([prompt.ids])

    def _embedded(self, ids: Tensor, image_tokens: Tensor) -> Tensor:
        """The prompt with its pictures in place: float32 [1, tokens, width]."""
        embedded = self.pipe.model.get_input_embeddings()(ids).detach().float()
        embedded[ids == self.pipe.model.config.image_token_id] = image_tokens
        return embedded


class _Encoder(nn.Module):
    def __init__(self, pipe: Pipeline) -> None:
        super().__init__()
        self.model = pipe.model

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels [images, 3, height, width] → image tokens [tokens, width], both float32."""
        features = self.model.get_image_features(pixel_values=pixels.to(self.model.dtype)).pooler_output
        return torch.cat(list(features)).float()


class _Prefill(nn.Module):
    def __init__(self, pipe: Pipeline) -> None:
        super().__init__()
        family = pipe.stages().llm.family
        self.language, self.head, self.dtype = family.language_model, family.head, pipe.model.dtype

    def forward(self, embedded: Tensor) -> tuple[Tensor, ...]:
        """A prompt [1, tokens, width] → the last position's logits [1, vocabulary], both float32, and the keys and
        values of each layer."""
        cache = _RecordingCache()
        output = self.language(inputs_embeds=embedded.to(self.dtype), past_key_values=cache, use_cache=True)
        return self.head(output.last_hidden_state[:, -1]).float(), *cache.recorded


class _RecordingCache(DynamicCache):
    """The cache of one forward pass, which joins nothing to earlier keys and values: OpenVINO can't convert that."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: list[Tensor] = []

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.recorded += [keys, values]
        return keys, values


def import_openvino() -> ModuleType:
    """Import the package.

    Raises:
        VlmDemoError: it is not installed; says how.
    """
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise VlmDemoError('OpenVINO is not installed: pip install ".[openvino]", or leave out --openvino.') from error
    return openvino
