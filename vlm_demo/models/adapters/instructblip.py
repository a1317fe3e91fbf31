"""InstructBLIP: BLIP-2 whose Q-Former reads the question too, and gathers from the patches what it needs.

Dai et al. 2023 (https://arxiv.org/abs/2305.06500). The same picture therefore gives other image tokens to another
question.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from vlm_demo.contracts import PatchFeatures, Prompt
from vlm_demo.errors import BadQuestion
from vlm_demo.models.adapters.blip2 import Blip2
from vlm_demo.models.adapters.blip2_retrieval import load_qformer_tokenizer
from vlm_demo.models.adapters.usual import fitted

# What its processor writes: the pictures, the first token, and the words as they are.
FALLBACK_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}"
    "{% endfor %}{% endfor %}"
    "{{ bos_token }}"
    "{% for message in messages %}{% if not loop.first %}{{ ' ' }}{% endif %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{% endfor %}"
)


class InstructBlip(Blip2):
    """Adapter of ``InstructBlipForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "instructblip"
    bridge_reads = True
    fallback_template = FALLBACK_TEMPLATE

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        self._set_parts(model, "read the question and look")
        # A separate copy: encoding control strings as text switches a tokenizer's state.
        self.reader, self.first = copy.deepcopy(load_qformer_tokenizer(folder)), tokenizer.bos_token or ""

    @staticmethod
    def model_class() -> Any:
        from transformers import InstructBlipForConditionalGeneration

        return InstructBlipForConditionalGeneration

    def bridge(self, patches: PatchFeatures, prompt: Prompt | None = None) -> torch.Tensor:
        """What the queries gather, together with all words of the prompt.

        Raises:
            BadQuestion: there is no prompt, or it is longer than the Q-Former reads.
        """
        if prompt is None:
            raise BadQuestion("The bridge of this model reads the question: give it the prompt.")
        written = "".join(segment.text for segment in prompt.segments if segment.kind != "image")
        ids = self.reader(written.removeprefix(self.first), split_special_tokens=True)["input_ids"]
        longest = self.config.qformer_config.max_position_embeddings
        if len(ids) > longest:
            raise BadQuestion(
                f"The question is {len(ids)} tokens long for the bridge of this model, which reads {longest}: shorten "
                "it."
            )
        tokens = self.model.query_tokens
        count = len(patches.features)
        features = patches.features.to(tokens.device, tokens.dtype)
        read = torch.tensor([ids] * count, device=tokens.device)
        gathered = self.model.qformer(
            input_ids=read,
            attention_mask=torch.ones(count, tokens.shape[1] + len(ids), dtype=torch.long, device=tokens.device),
            query_embeds=tokens.expand(count, -1, -1),
            encoder_hidden_states=features,
        ).last_hidden_state[:, : tokens.shape[1]]
        projection = self.model.language_projection
        return projection(fitted(gathered, projection))
