"""Tiny checkpoints with random weights: built like a real LLaVA, at a size that runs in milliseconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)

SPECIAL = ("<s>", "</s>", "<pad>", "<image>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CORPUS = (
    "How many circles are there in the picture? What colour is the star? Is there a red square? Describe the scene.",
    "a large purple star and a small red square, three circles, yes, no, unknown, two, blue, green, yellow, orange",
    "Text in the picture: TOTAL 12.50 shop date. Answer only from visible evidence; say unknown if it is unclear.",
)


def tokenizer(vocabulary: int = 400) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        extra_special_tokens={"image_token": "<image>"},
        chat_template=TEMPLATE,
    )


def tiny_llava(
    folder: Path,
    *,
    tower: str = "clip",
    crop: bool = False,
    template: str | None = TEMPLATE,
    dtype: torch.dtype = torch.float32,
    context: int = 512,
    size: int = 48,
    patch: int = 12,
    width: int = 64,
    image_processor: object | None = None,
    seed: int = 0,
    **config: object,
) -> Path:
    """Write a LLaVA checkpoint with ``size`` × ``size`` pixels.

    Args:
        tower: ``clip`` (with CLS token, dropped) or ``siglip`` (without).
        crop: resize the shorter side and crop the middle, as LLaVA-1.5 does, in place of squashing.
        template: the chat template, or None for a checkpoint without one.
        config: more fields of ``LlavaConfig``.
    """
    torch.manual_seed(seed)
    words = tokenizer()
    words.chat_template = template
    ids = {token: words.convert_tokens_to_ids(token) for token in SPECIAL}
    vision = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": size,
        "patch_size": patch,
    }
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=ids["<s>"],
        eos_token_id=ids["</s>"],
        pad_token_id=ids["<pad>"],
    )
    strategy = "default" if tower == "clip" else "full"
    settings = {"vision_feature_layer": -1, "vision_feature_select_strategy": strategy} | config
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=(CLIPVisionConfig if tower == "clip" else SiglipVisionConfig)(**vision),
            text_config=text,
            image_token_id=ids["<image>"],
            image_seq_length=(size // patch) ** 2,
            **settings,
        )
    )
    # Fresh weights are so small that every picture gives the same words; noise makes the picture matter.
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.02 if parameter.dim() < 2 else 0.35 if "vision_tower" in name else 0.25
            parameter.add_(torch.randn_like(parameter) * scale)
    model.generation_config.eos_token_id = ids["</s>"]
    model.generation_config.pad_token_id = ids["<pad>"]
    model.generation_config.bos_token_id = ids["<s>"]
    model.to(dtype).save_pretrained(folder)
    if image_processor is None:
        shape = {"shortest_edge": size} if crop else {"height": size, "width": size}
        image_processor = CLIPImageProcessorPil(
            size=shape, do_center_crop=crop, crop_size={"height": size, "width": size}
        )
    processor = LlavaProcessor(
        image_processor,
        words,
        patch_size=patch,
        vision_feature_select_strategy=settings["vision_feature_select_strategy"],
        num_additional_image_tokens=1 if tower == "clip" else 0,
        chat_template=template,
    )
    processor.save_pretrained(folder)
    return Path(folder)


def without(folder: Path, target: Path, *names: str) -> Path:
    """A copy of a checkpoint that lacks some files."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*names))
    return target
