"""BLIP-2's retrieval half: pictures against texts, by similarity (ITC) and read together (ITM).

``Blip2ForImageTextRetrieval`` shares encoder, Q-Former and queries with the model that writes, and has a few tensors of
its own: text embeddings, two projections and the ITM head. A checkpoint that holds both has these with the others, in
the same safetensors file or in a separate one; the shared ones are in memory once.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.nn.functional import normalize

from vlm_demo.errors import UnsupportedModel

# The folder of a Q-Former's tokenizer, where it has a separate one: InstructBLIP's, and any that reads other tokens
# than the language model.
QFORMER_TOKENIZER = "qformer_tokenizer"
ITM_HEAD = "itm_head.weight"
SHARED = ("vision_model", "qformer", "query_tokens")


def queried(model: Any, features: torch.Tensor) -> torch.Tensor:
    """What the queries gather from features [pictures, patches, d_vision], without any text: [pictures, queries, d]."""
    tokens = model.query_tokens.expand(len(features), -1, -1)
    return model.qformer(
        query_embeds=tokens, encoder_hidden_states=features.to(tokens.device, tokens.dtype)
    ).last_hidden_state


def is_in(folder: Path) -> bool:
    """Whether a checkpoint, or what a recipe adds to its parts, holds the heads that compare pictures with texts."""
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            if any(name.endswith(ITM_HEAD) for name in opened.keys()):  # noqa: SIM118  (it is no dict)
                return True
    return False


def load(model: Any, folder: Path, retrieval_class: Any) -> Blip2Retrieval | None:
    """The retrieval model around the loaded one's shared parts; None where the folder does not hold its heads.

    Args:
        retrieval_class: ``Blip2ForImageTextRetrieval``, or one like it.
    Raises:
        UnsupportedModel: it holds only some of them, or of other sizes.
    """
    with torch.device("meta"):
        retrieval = retrieval_class(model.config)
    wanted = {name for name in retrieval.state_dict() if not name.startswith(SHARED)}
    tensors = _tensors(folder, wanted)
    if not tensors:
        return None
    if tensors.keys() != wanted or not model.config.qformer_config.use_qformer_text_input:
        raise UnsupportedModel(
            f"The retrieval heads of {folder.resolve().name} are incomplete: fetch the checkpoint again."
        )
    for part in SHARED:
        setattr(retrieval, part, getattr(model, part))
    dtype, device = model.vision_model.dtype, model.vision_model.device
    try:
        retrieval.load_state_dict({k: v.to(device, dtype) for k, v in tensors.items()}, strict=False, assign=True)
    except RuntimeError as error:
        raise UnsupportedModel(
            f"The retrieval heads of {folder.resolve().name} do not fit its config.json: fetch the checkpoint again."
        ) from error
    # No file holds this buffer, which counts the places of a text.
    places = retrieval.embeddings.position_ids.shape[1]
    retrieval.embeddings.position_ids = torch.arange(places, device=device)[None]
    return Blip2Retrieval(
        retrieval.eval(), load_qformer_tokenizer(folder) if (folder / QFORMER_TOKENIZER).exists() else None
    )


def load_qformer_tokenizer(folder: Path) -> Any:
    """The tokenizer of a Q-Former that has a separate one.

    Raises:
        UnsupportedModel: it is missing or damaged.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder / QFORMER_TOKENIZER, trust_remote_code=False)
    except Exception as error:  # many kinds of missing or damaged file, one meaning
        raise UnsupportedModel(
            f"The tokenizer of the Q-Former ({QFORMER_TOKENIZER}) is missing or damaged: fetch the checkpoint again."
        ) from error


def _tensors(folder: Path, wanted: set[str]) -> dict[str, torch.Tensor]:
    """Those of the ``wanted`` tensors that a safetensors file of the folder holds."""
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            found |= {name: opened.get_tensor(name) for name in wanted & set(opened.keys())}
    return found


class Blip2Retrieval:
    """Compares pictures with texts; implements ``adapters.Matcher``."""

    def __init__(self, model: Any, tokenizer: Any = None) -> None:
        self.model, self.tokenizer, config = model, tokenizer, model.config
        self.longest = config.qformer_config.max_position_embeddings
        # transformers has no field for it; without one similarities are compared as they are.
        self.temperature = math.exp(-getattr(config, "itc_log_scale", 0.0))
        self.layers: list[torch.nn.Module] = []  # the bridge's
        self.parts = (model.embeddings, model.vision_projection, model.text_projection, model.itm_head)

    def picture(self, features: torch.Tensor) -> torch.Tensor:
        projection = self.model.vision_projection
        return normalize(projection(queried(self.model, features).to(projection.weight.dtype))[0].float(), dim=-1)

    def texts(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        projection = self.model.text_projection
        embedded = self.model.embeddings(input_ids=ids)
        read = self.model.qformer(query_embeds=embedded, query_length=0, attention_mask=mask).last_hidden_state
        return normalize(projection(read[:, 0].to(projection.weight.dtype)).float(), dim=-1)

    def matches(self, features: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        tokens = self.model.query_tokens.expand(len(ids), -1, -1)
        count = tokens.shape[1]
        embedded = self.model.embeddings(input_ids=ids, query_embeds=tokens)
        read = self.model.qformer(
            query_embeds=embedded,
            query_length=count,
            attention_mask=torch.cat([mask.new_ones(len(ids), count), mask], 1),
            encoder_hidden_states=features.expand(len(ids), -1, -1),
        ).last_hidden_state
        head = self.model.itm_head
        return head(read[:, :count].to(head.weight.dtype)).mean(1).float().softmax(-1)[:, 1]
