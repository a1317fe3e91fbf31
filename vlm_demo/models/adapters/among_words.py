"""Among words: what families have in common whose image tokens stand among the words of one sequence."""

from __future__ import annotations

from typing import Any

import torch

from vlm_demo.contracts import View
from vlm_demo.models.adapters.usual import Writes


class Capped(torch.nn.Module):
    """A head whose logits are squeezed smoothly into -cap..cap, as Gemma's are."""

    def __init__(self, head: torch.nn.Module, cap: float) -> None:
        super().__init__()
        self.head, self.cap = head, cap

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return (self.head(hidden) / self.cap).tanh() * self.cap


class AmongWords(Writes):
    """The defaults for most of ``adapters.Writer``; each family overrides what differs."""

    leading_tokens = 0

    def __init__(self, model: Any, language_model: Any) -> None:
        self.model, self.config = model, model.config
        self.language_model = language_model
        cap = getattr(self.config.text_config, "final_logit_softcapping", None)
        self.head = model.lm_head if cap is None else Capped(model.lm_head, cap)
        self.language_layers = list(language_model.layers)
        self.bridge_layers: list[torch.nn.Module] = []
        self.tapped = (language_model,)
        self.context = self.config.text_config.max_position_embeddings
        self.image_token_id = self.config.image_token_id

    @staticmethod
    def check(config: Any) -> None:
        """All of them can be run."""

    def placeholders(self, view: View) -> int | str:
        return sum(len(grid.tokens) for grid in view.patch_grids)
