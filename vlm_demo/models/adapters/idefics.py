"""Idefics: a ViT, and a language model with cross-attention layers to the patches between its own.

Laurençon et al. 2023 (https://arxiv.org/abs/2306.16527) after Flamingo (Alayrac et al. 2022,
https://arxiv.org/abs/2204.14198). The picture is no part of the text: the prompt holds one mark for it, and the words
attend to the patches through gated cross-attention layers, in whose key and value matrices the bridge lies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vlm_demo.contracts import BridgeInfo, ImageTokens, PatchFeatures, Prompt, View
from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.adapters.usual import OneTile, Writes

# What the instructed Idefics was trained with.
FALLBACK_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'Assistant: ' }}{% else %}{{ 'User:' }}{% endif %}"
    "{% for part in message['content'] if part['type'] == 'image' %}"
    "{% if loop.first %}{{ '<fake_token_around_image>' }}{% endif %}"
    "{{ '<image><fake_token_around_image>' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{{ '<end_of_utterance>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


class Idefics(OneTile, Writes):
    """Adapter of ``IdeficsForVisionText2Text``; implements ``adapters.Writer``."""

    name = "idefics"
    fallback_template = FALLBACK_TEMPLATE
    keep_unquantized = ("model.vision_model", "model.gated_cross_attn_layers", "lm_head")
    leading_tokens = 1  # the words look at the CLS token too
    among_words = False

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        self.model, self.config = model, model.config
        self.language_model, self.head = model.model, model.lm_head
        self.encoder_layers = self._encoder_layers(model.model.vision_model)
        self.bridge_layers: list[torch.nn.Module] = []
        crossing = list(model.model.gated_cross_attn_layers)
        self.language_layers = [*model.model.layers, *crossing]
        self.image_attentions = frozenset(layer.cross_attn for layer in crossing)
        self.tapped = (self.language_model,)
        self.context = self.config.max_position_embeddings
        self.bridge_info = BridgeInfo("cross-attention", f"read by {len(crossing)} gated layers of the language model")
        # Its config has no field for the mark.
        mark = getattr(self.config, "image_token_id", None)
        self.image_token_id = tokenizer.convert_tokens_to_ids("<image>") if mark is None else mark

    @staticmethod
    def model_class() -> Any:
        from transformers import IdeficsForVisionText2Text

        return IdeficsForVisionText2Text

    @staticmethod
    def _encoder_layers(vision_model: Any) -> list[torch.nn.Module]:
        return list(vision_model.encoder.layers)

    @staticmethod
    def check(config: Any) -> None:
        """Refuse the resampler.

        Raises:
            UnsupportedModel: it has one.
        """
        if config.use_resampler:
            raise UnsupportedModel(
                "This Idefics looks at pictures through a resampler, which cannot be run here: choose one without "
                "(use_resampler = false)."
            )

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The last layer's hidden states, CLS token first."""
        pixel_values = pixel_values.to(self.head.weight.device, self.model.dtype)
        return self.language_model.vision_model(pixel_values=pixel_values).last_hidden_state

    def placeholders(self, view: View) -> int:
        return 1

    def bridge(self, patches: PatchFeatures) -> torch.Tensor:
        """The features as they are: each cross-attention layer projects them itself."""
        return patches.features

    def language_model_inputs(
        self, image_tokens: ImageTokens, prompt: Prompt, positions: range
    ) -> dict[str, torch.Tensor]:
        """The patches of all pictures, and which of these each token sees.

        As Idefics' processor has it, a token sees the last picture before it; but unlike there a turn's end does not
        hide the picture, and what comes before the first one sees it too, as the embedded checkpoint was trained.
        """
        keys = image_tokens.embeddings.unflatten(0, (len(image_tokens.counts), -1))[None]
        marks = torch.tensor(prompt.image_positions)
        begun = (torch.tensor(positions)[:, None] >= marks).sum(1)
        seen = torch.nn.functional.one_hot((begun - 1).clamp(min=0), len(marks))
        return {"image_encoder_embeddings": keys, "image_attention_mask": seen[None].to(keys.device)}


class EfficientNetIdefics(Idefics):
    """Adapter of ``EfficientNetIdeficsForVisionText2Text``, whose encoder is convolutional and has no CLS token."""

    leading_tokens = 0

    @staticmethod
    def model_class() -> Any:
        from vlm_demo.models.efficientnet_bridges import EfficientNetIdeficsForVisionText2Text

        return EfficientNetIdeficsForVisionText2Text

    @staticmethod
    def _encoder_layers(vision_model: Any) -> list[torch.nn.Module]:
        return [block for stage in vision_model.stages for block in stage]
