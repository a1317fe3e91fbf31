"""Pretrained: a part's name → a vision tower, or a language model with its tokenizer, to train or to measure.

Finds and checks the weight files as the assembly of an embedded model does, so both stand on the same weights.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from vlm_demo.models import parts, smollm2
from vlm_demo.models.builders import towers
from vlm_demo.models.efficientnet_lite import EfficientNetLiteModel
from vlm_demo.models.fetching import Progress


def vision_tower(name: str, image_size: int, tell: Progress) -> EfficientNetLiteModel:
    """The tower of that name, float32, for squares of ``image_size`` pixels.

    Raises:
        ModelNotFound, UnsupportedModel: see ``parts.find`` and ``towers.efficientnet_lite2``.
    """
    config, weights = towers.efficientnet_lite2(parts.find(name, tell), {}, image_size)
    tower = EfficientNetLiteModel(config)
    tower.load_state_dict(weights)
    return tower.eval()


def language_model(name: str, tell: Progress) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The language model of that name, float32, and its tokenizer, which knows ``<image>``.

    Raises:
        ModelNotFound, UnsupportedModel: see ``parts.find`` and ``smollm2.read``.
    """
    read = smollm2.read(parts.find(name, tell))
    weights = dict(read.weights)
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    model = LlamaForCausalLM(read.config)
    model.load_state_dict(weights)
    return model.eval(), read.tokenizer
