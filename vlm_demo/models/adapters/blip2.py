"""BLIP-2: a ViT, a Q-Former whose queries attend to the patch features, and a language model that reads the queries.

Li et al. 2023 (https://arxiv.org/abs/2301.12597). An image token stands for no place of the picture but for a query,
so a word's map is its attention on the queries times the queries' attention on the patches. The same Q-Former compares
pictures with texts where the checkpoint holds the heads for it; see ``blip2_retrieval``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vlm_demo.contracts import BridgeInfo, PatchFeatures, Prompt, View
from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.adapters import StagesUnknown, blip2_retrieval, blocks
from vlm_demo.models.adapters.usual import OneTile, Writes, fitted

# What BLIP-2 was evaluated with. Its pictures come before everything, the first token too.
FALLBACK_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}"
    "{% endfor %}{% endfor %}"
    "{{ bos_token }}"
    "{% for message in messages %}{% for part in message['content'] if part['type'] == 'text' %}"
    "{% if message['role'] == 'assistant' %}{{ ' ' + part['text'] + '. ' }}"
    "{% else %}{{ 'Question: ' + part['text'] + ' Answer:' }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


class Blip2(OneTile, Writes):
    """Adapter of ``Blip2ForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "blip2"
    fallback_template = FALLBACK_TEMPLATE
    keep_unquantized = ("vision_model", "qformer", "language_projection", "language_model.lm_head")
    leading_tokens = 1  # the Q-Former looks at the CLS token too

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        self._set_parts(model, "look")
        self.matcher = blip2_retrieval.load(model, folder, self.retrieval_class())

    def _set_parts(self, model: Any, action: str) -> None:
        """Set the parts; ``action`` is what the queries do, in words."""
        self.model, self.config = model, model.config
        self.language_model = model.language_model.base_model
        self.head = model.language_model.get_output_embeddings()
        self.encoder_layers = self._encoder_layers(model.vision_model)
        self.bridge_layers = list(model.qformer.encoder.layer)
        self.language_layers = blocks(self.language_model, self.config.text_config.num_hidden_layers)
        self.context = self.config.text_config.max_position_embeddings
        self.image_token_id = self.config.image_token_index
        self.tapped = (self.language_model, model.qformer)
        crossing = [layer.crossattention.attention for layer in self.bridge_layers if layer.has_cross_attention]
        self.bridge_attentions = frozenset(crossing)
        self.bridge_info = BridgeInfo(
            "Q-Former", f"{self.config.num_query_tokens} queries that {action} {len(crossing)} times"
        )

    @staticmethod
    def model_class() -> Any:
        from transformers import Blip2ForConditionalGeneration

        return Blip2ForConditionalGeneration

    @staticmethod
    def retrieval_class() -> Any:
        """The class that has the retrieval heads."""
        from transformers import Blip2ForImageTextRetrieval

        return Blip2ForImageTextRetrieval

    @staticmethod
    def _encoder_layers(vision_model: Any) -> list[torch.nn.Module]:
        return list(vision_model.encoder.layers)

    @staticmethod
    def check(config: Any) -> None:
        """Leave out language models that do not write token after token behind what they have read, as T5 does not.

        Raises:
            StagesUnknown: it has one.
            UnsupportedModel: names what its config lacks.
        """
        if not config.use_decoder_only_language_model:
            raise StagesUnknown
        if config.image_token_index is None:
            raise UnsupportedModel(
                "The config.json of this BLIP-2 does not say which token stands for the picture (image_token_index): "
                "fetch a newer version of the checkpoint."
            )

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The last layer's hidden states, CLS token first."""
        vision = self.model.vision_model
        return vision(pixel_values.to(vision.device, vision.dtype)).last_hidden_state

    def placeholders(self, view: View) -> int:
        return self.config.num_query_tokens

    def bridge(self, patches: PatchFeatures, prompt: Prompt | None = None) -> torch.Tensor:
        projection = self.model.language_projection
        queried = blip2_retrieval.queried(self.model, patches.features)
        return projection(fitted(queried, projection))


class EfficientNetBlip2(Blip2):
    """Adapter of ``EfficientNetBlip2ForConditionalGeneration``, whose encoder is convolutional and has no CLS token."""

    leading_tokens = 0

    @staticmethod
    def model_class() -> Any:
        from vlm_demo.models.efficientnet_bridges import EfficientNetBlip2ForConditionalGeneration

        return EfficientNetBlip2ForConditionalGeneration

    @staticmethod
    def retrieval_class() -> Any:
        from vlm_demo.models.efficientnet_bridges import EfficientNetBlip2ForImageTextRetrieval

        return EfficientNetBlip2ForImageTextRetrieval

    @staticmethod
    def _encoder_layers(vision_model: Any) -> list[torch.nn.Module]:
        return [block for stage in vision_model.stages for block in stage]
