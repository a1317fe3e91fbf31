"""Tiny checkpoints with random weights: built like the real families, at a size that runs in milliseconds."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    IdeficsConfig,
    IdeficsForVisionText2Text,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    OPTConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
    T5Config,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

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


def tokenizer(vocabulary: int = 400, more: Sequence[str] = (), template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer; ``more`` are special tokens in addition to ``SPECIAL``."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[*SPECIAL, *more], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<|user|>", "<|assistant|>", *more],
        extra_special_tokens={"image_token": "<image>"},
        chat_template=template,
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
    text = llama(words, width, context)
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
    noise(model, {"vision_tower": 0.35})
    write(model, folder, ids, dtype)
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


def llama(words: PreTrainedTokenizerFast, width: int = 64, context: int = 512) -> LlamaConfig:
    """A decoder of three layers with grouped queries."""
    return LlamaConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )


@torch.no_grad()
def noise(model: torch.nn.Module, scales: dict[str, float]) -> None:
    """Add noise to every tensor: fresh weights are so small, or gates so shut, that all pictures give the same words.

    Args:
        scales: of the matrices, by a part of their name; 0.25 for others. Vectors get 0.02.
    """
    for name, parameter in model.named_parameters():
        scale = 0.02 if parameter.dim() < 2 else next((s for part, s in scales.items() if part in name), 0.25)
        parameter.add_(torch.randn_like(parameter) * scale)


def write(model: PreTrainedModel, folder: Path, ids: dict[str, int], dtype: torch.dtype) -> None:
    model.generation_config.eos_token_id = ids["</s>"]
    model.generation_config.pad_token_id = ids["<pad>"]
    model.generation_config.bos_token_id = ids["<s>"]
    model.to(dtype).save_pretrained(folder)


def write_processors(words: PreTrainedTokenizerFast, folder: Path, size: int) -> None:
    """Tokenizer and image processor apart, as the embedded checkpoints of these families have them: pad to a square."""
    words.save_pretrained(folder)
    shape = {"height": size, "width": size}
    LlavaImageProcessorPil(size=shape, do_pad=True, do_center_crop=False).save_pretrained(folder)


def tiny_blip2(
    folder: Path,
    *,
    lm: str = "llama",
    heads: str | None = None,
    template: str | None = TEMPLATE,
    dtype: torch.dtype = torch.float32,
    width: int = 64,
    frequency: int = 1,
    seed: int = 0,
    **config: object,
) -> Path:
    """Write a BLIP-2 of 48 × 48 pixels, 16 patches and 5 queries.

    Args:
        lm: ``llama``, ``opt``, or ``t5``, which is an encoder-decoder.
        heads: where the retrieval heads go: ``together`` with the other weights, into a file ``apart``, or None =
            nowhere.
        frequency: every so-many-th layer of the Q-Former attends to the patches.
        config: more fields of ``Blip2Config``.
    """
    torch.manual_seed(seed)
    words = tokenizer()
    words.chat_template = template
    ids = {token: words.convert_tokens_to_ids(token) for token in SPECIAL}
    named = {"bos_token_id": ids["<s>"], "eos_token_id": ids["</s>"], "pad_token_id": ids["<pad>"]}
    opt = {"ffn_dim": 2 * width, "word_embed_proj_dim": width, "num_hidden_layers": 3, "num_attention_heads": 4}
    text = {
        "llama": lambda: llama(words, width),
        "opt": lambda: OPTConfig(vocab_size=len(words), hidden_size=width, max_position_embeddings=512, **opt, **named),
        "t5": lambda: T5Config(
            vocab_size=len(words),
            d_model=width,
            d_kv=16,
            d_ff=width,
            num_layers=1,
            num_heads=4,
            decoder_start_token_id=ids["<pad>"],
            **named,
        ),
    }[lm]()
    vision = Blip2VisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=48,
        patch_size=12,
        initializer_range=0.02,
    )
    qformer = Blip2QFormerConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=4,
        num_attention_heads=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=32,
        pad_token_id=ids["<pad>"],
        cross_attention_frequency=frequency,
        encoder_hidden_size=width,
        use_qformer_text_input=True,
    )
    whole = Blip2Config(
        vision_config=vision.to_dict(),
        qformer_config=qformer.to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=5,
        image_text_hidden_size=24,
        **{"image_token_index": ids["<image>"], "tie_word_embeddings": lm == "opt"} | config,
    )
    model = Blip2ForConditionalGeneration(whole)
    noise(model, {"vision_model": 0.35, "query_tokens": 1.0, "crossattention": 0.5})
    write(model, folder, ids, dtype)
    if heads:
        retrieval = Blip2ForImageTextRetrieval(whole)
        noise(retrieval, {})
        names = model.state_dict().keys()
        more = {key: value.to(dtype) for key, value in retrieval.state_dict().items() if key not in names}
        file = Path(folder) / ("retrieval.safetensors" if heads == "apart" else "model.safetensors")
        save_file(more if heads == "apart" else load_file(file) | more, file, metadata={"format": "pt"})
    if lm == "opt":  # whose tokenizer writes the first token by itself
        first = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
        words.backend_tokenizer.post_processor = first
    write_processors(words, folder, 48)
    return Path(folder)


def tiny_idefics(
    folder: Path,
    *,
    template: str | None = TEMPLATE,
    dtype: torch.dtype = torch.float32,
    width: int = 64,
    interval: int = 1,
    seed: int = 0,
    **config: object,
) -> Path:
    """Write an Idefics of 48 × 48 pixels and 16 patches, without a resampler.

    Args:
        interval: a cross-attention layer comes before every so-many-th layer.
        config: more fields of ``IdeficsConfig``.
    """
    torch.manual_seed(seed)
    words = tokenizer()
    words.chat_template = template
    ids = {token: words.convert_tokens_to_ids(token) for token in SPECIAL}
    vision = {
        "embed_dim": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": 48,
        "patch_size": 12,
    }
    model = IdeficsForVisionText2Text(
        IdeficsConfig(
            vocab_size=len(words),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=512,
            bos_token_id=ids["<s>"],
            eos_token_id=ids["</s>"],
            pad_token_id=ids["<pad>"],
            cross_layer_interval=interval,
            alpha_type="vector",
            vision_config=vision,
            **{"qk_layer_norms": True, "use_resampler": False} | config,
        )
    )
    noise(model, {"vision_model": 0.35, "alpha": 1.0, "cross_attn": 0.5})
    write(model, folder, ids, dtype)
    write_processors(words, folder, 48)
    return Path(folder)


def closing(words: PreTrainedTokenizerFast, end: str) -> PreTrainedTokenizerFast:
    """A tokenizer that puts ``<s>`` before a text and ``end`` behind it."""
    made = PreTrainedTokenizerFast(
        tokenizer_object=words.backend_tokenizer, bos_token="<s>", eos_token=end, pad_token="<pad>"
    )
    around = [(token, made.convert_tokens_to_ids(token)) for token in ("<s>", end)]
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(single=f"<s> $A {end}", special_tokens=around)
    return made


def tiny_clip(
    folder: Path, *, end: str = "<|end|>", dtype: torch.dtype = torch.float32, seed: int = 0, **text: object
) -> Path:
    """Write a CLIP of 48 × 48 pixels and 16 patches that reads 24 tokens of a text.

    Args:
        end: the token that closes a text.
        text: more fields of ``CLIPTextConfig``.
    """
    torch.manual_seed(seed)
    words = closing(tokenizer(), end)
    shape = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    read = {"eos_token_id": words.eos_token_id, "max_position_embeddings": 24} | text
    model = CLIPModel(
        CLIPConfig(
            text_config=CLIPTextConfig(vocab_size=len(words), **shape, **read).to_dict(),
            vision_config=CLIPVisionConfig(image_size=48, patch_size=12, **shape).to_dict(),
            projection_dim=24,
        )
    )
    noise(model, {})
    model.to(dtype).save_pretrained(folder)
    write_processors(words, folder, 48)
    return Path(folder)


def tiny_siglip(folder: Path, *, seed: int = 0, **vision: object) -> Path:
    """Write a SigLIP of 48 × 48 pixels and 16 patches that reads 24 tokens of a text.

    Args:
        vision: more fields of ``SiglipVisionConfig``.
    """
    torch.manual_seed(seed)
    words = closing(tokenizer(), "</s>")
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = SiglipConfig(
        text_config=SiglipTextConfig(vocab_size=len(words), max_position_embeddings=24, **shape).to_dict(),
        vision_config=SiglipVisionConfig(image_size=48, patch_size=12, **shape, **vision).to_dict(),
    )
    model = SiglipModel(config)
    noise(model, {})
    model.save_pretrained(folder)
    write_processors(words, folder, 48)
    return Path(folder)
