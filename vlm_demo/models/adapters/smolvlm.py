"""SmolVLM: a small Idefics3 under another name."""

from __future__ import annotations

from typing import Any

from vlm_demo.models.adapters.idefics3 import Idefics3


class SmolVlm(Idefics3):
    """Adapter of ``SmolVLMForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "smolvlm"

    @staticmethod
    def model_class() -> Any:
        from transformers import SmolVLMForConditionalGeneration

        return SmolVLMForConditionalGeneration
