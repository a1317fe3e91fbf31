"""SmolVLM: Idefics3 under a name of its own, made small."""

from __future__ import annotations

from typing import Any

from vlm_demo.models.adapters.idefics3 import Idefics3


class SmolVlm(Idefics3):
    """Adapter of ``SmolVLMForConditionalGeneration``; implements ``families.Writer``."""

    name = "smolvlm"

    @staticmethod
    def model_class() -> Any:
        from transformers import SmolVLMForConditionalGeneration

        return SmolVLMForConditionalGeneration
