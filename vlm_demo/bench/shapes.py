"""Shapes: real models' sizes → LLaVA checkpoints of random weights in a folder, for timing alone.

Random weights take the same time as trained ones, and need no download.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The language models' published sizes: Qwen2 0.5B and 1.5B (https://arxiv.org/abs/2407.10671, table 1), LLaMA 7B
# (https://arxiv.org/abs/2302.13971, table 2). The encoder is CLIP's ViT-L/14 (https://arxiv.org/abs/2103.00020).
TEXT: dict[str, dict[str, int]] = {
    "0.5b": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
    },
    "2b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
    },
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32_064,
    },
}
QUANTIZED = ("2b", "7b")  # a smaller model gains nothing from fewer bits
VISION = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
PATCH = 14
CONTEXT = 8192


@dataclass(frozen=True)
class Shape:
    """One checkpoint to be timed: the language model's size (a key of TEXT) and the pixels of a picture's side."""

    text: str
    side: int = 336

    @property
    def image_tokens(self) -> int:
        """Of one picture."""
        return (self.side // PATCH) ** 2


def write(shape: Shape, folder: Path, seed: int = 0) -> None:
    """Write an ordinary LLaVA checkpoint in bf16 with normal weights of standard deviation 0.02 into ``folder``, with
    the tokenizer and the chat template of the embedded one."""
    import torch
    from transformers import AutoTokenizer, LlavaForConditionalGeneration
    from transformers.initialization import no_init_weights
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    from vlm_demo.models.loading import checkpoint

    tokenizer = AutoTokenizer.from_pretrained(checkpoint("llava"))
    with no_init_weights():
        model = LlavaForConditionalGeneration._from_config(_config(shape, tokenizer), dtype=torch.bfloat16)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                parameter.normal_(0, 0.02, generator=generator)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": shape.side, "width": shape.side}
    LlavaImageProcessorPil(do_pad=True, size=size, do_center_crop=False).save_pretrained(folder)


def _config(shape: Shape, tokenizer: Any) -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    sizes = TEXT[shape.text]
    # The prompts are tokenized by the embedded model's tokenizer, each of whose tokens needs an embedding.
    rows = max(sizes["vocab_size"], len(tokenizer))
    text = LlamaConfig(
        **(sizes | {"vocab_size": rows}),
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, image_size=shape.side, patch_size=PATCH),
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=shape.image_tokens,
    )
