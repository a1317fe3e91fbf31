"""Cross-attention recipe: LLaVA's encoder and language model, and between the layers of the latter new ones that look
at the picture.

`IdeficsForVisionText2Text` without a resampler follows Flamingo (Alayrac et al. 2022, https://arxiv.org/abs/2204.14198):
before each decoder layer the words attend to the patches, and what they see is added through a gate tanh(α) with α = 0
at the start, so that training begins at the language model as it was. The picture costs no place in the prompt but one
``<image>`` token.

Encoder and decoder correspond to CLIP's and LLaMA's parameter by parameter and stay frozen; the gated layers alone are
trained, with LM on packed questions. Two things differ from LLaVA: the class token is seen beside the patches, and the
positions of the prompt no longer leave room for the patches.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    IdeficsConfig,
    IdeficsForVisionText2Text,
    LlamaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from vlm_demo.training import shared
from vlm_demo.training.data import loader
from vlm_demo.training.gaze import AIMS, GAZE_WEIGHT, SIGHT, gaze_loss, on_patches, watched
from vlm_demo.training.packing import block_mask
from vlm_demo.training.patches import as_pixel_values
from vlm_demo.training.shared import (
    BridgedQuestions,
    Losses,
    Recipe,
    answer_losses,
    autocast,
    exported,
    groups,
    load,
    moved,
    ready,
    remember,
    remembered,
)

SHARES = {"cross": 1.0}
IMAGE_TOKENS = 1


def build(tokenizer: PreTrainedTokenizerFast, clip: CLIPVisionConfig, text: LlamaConfig) -> IdeficsForVisionText2Text:
    """The untrained model in float32."""
    config = IdeficsConfig(
        vocab_size=text.vocab_size,
        hidden_size=text.hidden_size,
        intermediate_size=text.intermediate_size,
        num_hidden_layers=text.num_hidden_layers,
        num_attention_heads=text.num_attention_heads,
        hidden_act=text.hidden_act,
        rms_norm_eps=text.rms_norm_eps,
        rope_parameters=text.rope_parameters,
        max_position_embeddings=text.max_position_embeddings,
        bos_token_id=text.bos_token_id,
        eos_token_id=text.eos_token_id,
        pad_token_id=text.pad_token_id,
        tie_word_embeddings=False,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),  # no field of this class, which needs none
        alpha_initializer="zeros",
        alpha_type="vector",
        cross_layer_interval=1,
        qk_layer_norms=True,
        use_resampler=False,
        freeze_lm_head=True,
        vision_config={
            "embed_dim": clip.hidden_size,
            "image_size": clip.image_size,
            "patch_size": clip.patch_size,
            "intermediate_size": clip.intermediate_size,
            "num_hidden_layers": clip.num_hidden_layers,
            "num_attention_heads": clip.num_attention_heads,
            "hidden_act": clip.hidden_act,
            "layer_norm_eps": clip.layer_norm_eps,
        },
    )
    return IdeficsForVisionText2Text(config)


def take_over(model: IdeficsForVisionText2Text, llava: LlavaForConditionalGeneration) -> None:
    """Copy encoder, decoder and output head; raises if any parameter has no counterpart."""
    model.model.vision_model.load_state_dict(llava.model.vision_tower.state_dict())
    missing, unexpected = model.model.load_state_dict(llava.model.language_model.state_dict(), strict=False)
    new = [key for key in missing if not key.startswith(("gated_cross_attn_layers.", "vision_model."))]
    if new or unexpected:
        raise ValueError(f"the decoders do not correspond: {sorted([*new, *unexpected])}")
    model.lm_head.load_state_dict(llava.lm_head.state_dict())


def answer_loss(batch: dict[str, Tensor], model: IdeficsForVisionText2Text, device: str) -> Losses:
    """LM on the answers to packed questions; every token may look at the picture, and a few heads are shown where to
    (`gaze.py`; the class token takes the place of ``<s>``). ``gate`` is the mean of |tanh(α)| of the attentions: how
    far their gates have opened."""
    batch = moved(batch, device)
    gated = model.model.gated_cross_attn_layers
    looking = {AIMS[name].layer: gated[AIMS[name].layer].cross_attn for name in SIGHT}
    with autocast(device), watched(looking) as attentions:
        hidden = model.model(
            input_ids=batch["ids"],
            attention_mask=block_mask(batch["blocks"], torch.bfloat16),
            position_ids=batch["positions"],
            pixel_values=as_pixel_values(batch["pixels"])[:, None],
            image_attention_mask=torch.ones(*batch["ids"].shape, 1, dtype=torch.long, device=device),
            use_cache=False,
        ).last_hidden_state
        losses = answer_losses(hidden, model.lm_head, batch)
    gazes = gaze_loss(attentions, on_patches(batch, 1))
    gates = torch.stack([layer.alpha_cross_attn.detach() for layer in gated])
    total = losses["total"] + GAZE_WEIGHT * gazes
    return losses | {"total": total, "gaze": gazes, "gate": gates.tanh().abs().mean()}


def train(
    folder: Path,
    minutes: float,
    seed: int,
    device: str,
    workers: int,
    resume: bool,
    start: Path,
    again: Path | None = None,
) -> dict[str, dict]:
    """Train the gated layers between encoder and decoder of the LLaVA in ``start``; returns what each stage did,
    checkpoints go to ``folder``. The layers begin as those of the Idefics in ``again``, or closed."""
    torch.manual_seed(seed)
    llava, tokenizer = load(start)
    remember(folder, llava.config, tokenizer)
    model = build(tokenizer, llava.config.vision_config, llava.config.text_config)
    take_over(model, llava)
    if again:
        bridge = {key: rows for key, rows in exported(again).items() if "gated_cross_attn_layers." in key}
        if model.load_state_dict(bridge, strict=False).unexpected_keys or not bridge:
            raise ValueError(f"{again} holds no such gated layers as are trained here")
    ready(model, device)
    recipe = Recipe(folder, minutes, resume, SHARES)
    recipe.stage(
        "cross",
        {"model": model},
        groups([model.model.gated_cross_attn_layers], [], 1e-3, 2e-3),
        lambda at: loader(BridgedQuestions(seed, at, tokenizer, folder.parent, IMAGE_TOKENS), workers),
        partial(answer_loss, model=model, device=device),
    )
    return recipe.done


def load_latest(folder: Path) -> tuple[IdeficsForVisionText2Text, PreTrainedTokenizerFast]:
    """The newest state of the run in ``folder``, in float32."""
    config, tokenizer = remembered(folder)
    model = build(tokenizer, config.vision_config, config.text_config)
    model.load_state_dict(torch.load(folder / "cross.pt", map_location="cpu", weights_only=True)["model"])
    return model.eval(), tokenizer


def save(model: IdeficsForVisionText2Text, tokenizer: PreTrainedTokenizerFast, target: Path) -> None:
    """Write an ordinary Idefics checkpoint in bf16."""
    shared.save(model, tokenizer, target)
