"""CLIP recipe: the shared encoder and a text tower, brought together by the contrastive loss (`objectives.itc`).

CLIP reads a picture from its class token, which LLaVA, reading patches, never trained. So the encoder's last layers,
in which that token has to gather what the patches say, are trained with the projections and the text tower; all below
stays the shared encoder.

The text tower reads the last token. In transformers a text config with ``eos_token_id == 2`` means an old checkpoint,
and the token with the highest id is read instead: the closing token here has an id of its own.
"""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import torch
from tokenizers import processors
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, PreTrainedTokenizerFast

from vlm_demo.training import objectives, shared
from vlm_demo.training.captions import CaptionBatches
from vlm_demo.training.data import loader
from vlm_demo.training.patches import as_pixel_values
from vlm_demo.training.shared import (
    Losses,
    Recipe,
    autocast,
    groups,
    load,
    moved,
    ready,
    remember,
    remembered,
    word_vectors,
)

SHARES = {"itc": 1.0}
TRAINED_LAYERS = 2  # of the encoder, its last ones
END = "<|end|>"
LONGEST = 96  # tokens of a text
BATCH = 48


def closing_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """LLaVA's tokenizer and one more token, END: a text becomes ``<s>`` text END, padded on the right."""
    made = PreTrainedTokenizerFast(
        tokenizer_object=copy.deepcopy(tokenizer.backend_tokenizer),
        pad_token=tokenizer.pad_token,
        bos_token=tokenizer.bos_token,
        eos_token=END,
        model_max_length=LONGEST,
        padding_side="right",
    )
    ends = [(token, made.convert_tokens_to_ids(token)) for token in (made.bos_token, END)]
    template = processors.TemplateProcessing(single=f"{made.bos_token} $A {END}", special_tokens=ends)
    plain = processors.ByteLevel(trim_offsets=False)
    made.backend_tokenizer.post_processor = processors.Sequence([plain, template])
    return made


def build(tokenizer: PreTrainedTokenizerFast, vision: CLIPVisionConfig) -> CLIPModel:
    """The untrained model in float32, for `closing_tokenizer`'s tokens."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=4,
        num_attention_heads=4,
        hidden_act="gelu_pytorch_tanh",
        max_position_embeddings=LONGEST,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=256)
    return CLIPModel(config)


def itc_loss(batch: dict[str, Tensor], model: CLIPModel, device: str) -> Losses:
    """ITC of the pictures with their full captions and with single claims; see `contrast`."""
    batch = moved(batch, device)
    with autocast(device):
        pictures = model.get_image_features(as_pixel_values(batch["pixels"])).pooler_output
        full, claims = (_read(batch[name], model) for name in ("full", "claims"))
    scale = objectives.limited(model.logit_scale).exp()
    losses, _ = contrast(pictures, full, claims, scale, batch)
    return losses | {"scale": scale, "examples": torch.tensor(len(pictures))}


def _read(ids: Tensor, model: CLIPModel) -> Tensor:
    """Features [..., d] of texts [..., T]."""
    flat = ids.reshape(-1, ids.shape[-1])
    features = model.get_text_features(flat, flat != model.config.text_config.pad_token_id).pooler_output
    return features.reshape(*ids.shape[:-1], -1)


def contrast(
    pictures: Tensor, full: Tensor, claims: Tensor, scale: Tensor, batch: dict[str, Tensor]
) -> tuple[Losses, Tensor]:
    """ITC of pictures [B, d] or [B, Q, d] with full captions [B, 2, d] and claims [B, K, 2, d], true and wrong.

    A claim may be true of many a picture, so none of its own area is its negative; what it competes with are false
    captions of its picture. ``apart`` is the share of full captions that are nearer to their picture than the same with
    one word changed, ``found`` of those that are the nearest of the batch.

    Returns:
        The losses, and the similarities of pictures and full captions [B, B].
    """
    wrong = objectives.own_similarities(pictures, torch.cat([full[:, 1:], claims[:, :, 1]], 1))
    near = batch["area"][:, None] == batch["area"]
    similarity = objectives.similarities(pictures, full[:, 0])
    told = objectives.itc(similarity, scale, batch["same"], wrong)
    said = [
        objectives.itc(objectives.similarities(pictures, claims[:, k, 0]), scale, near, wrong)
        for k in range(claims.shape[1])
    ]
    own, others = similarity.diagonal(), similarity.masked_fill(batch["same"], -2)
    losses = {
        "total": told + torch.stack(said).mean(),
        "full": told,
        "claims": torch.stack(said).mean(),
        "apart": (own > wrong[:, 0]).float().mean(),
        "found": (own > others.amax(1)).float().mean(),
    }
    return losses, similarity


def trained_parts(model: CLIPModel) -> list[dict]:
    """What the recipe trains, as parameter groups."""
    vision = model.vision_model
    last = vision.encoder.layers[-TRAINED_LAYERS:]
    text = model.text_model
    hidden = [*last, text.encoder]
    others = [
        vision.post_layernorm, text.embeddings, text.final_layer_norm, model.visual_projection, model.text_projection,
        model.logit_scale,
    ]  # fmt: skip
    return groups(hidden, others, 8e-4, 1.6e-3)


def train(
    folder: Path, minutes: float, seed: int, device: str, workers: int, resume: bool, start: Path
) -> dict[str, dict]:
    """Train on the encoder of the LLaVA in ``start``; returns what each stage did, checkpoints go to ``folder``."""
    torch.manual_seed(seed)
    llava, tokenizer = load(start)
    remember(folder, llava.config, tokenizer)
    tokenizer = closing_tokenizer(tokenizer)
    model = build(tokenizer, llava.config.vision_config)
    model.vision_model.load_state_dict(llava.model.vision_tower.state_dict())
    words = model.text_model.embeddings.token_embedding
    words.weight.data.copy_(word_vectors(llava, words.num_embeddings))
    ready(model, device)
    recipe = Recipe(folder, minutes, resume, SHARES)

    def batches(at: int):
        return loader(CaptionBatches(seed, at, tokenizer, tokenizer.eos_token_id, BATCH), workers)

    recipe.stage("itc", {"model": model}, trained_parts(model), batches, partial(itc_loss, model=model, device=device))
    return recipe.done


def load_latest(folder: Path) -> tuple[CLIPModel, PreTrainedTokenizerFast]:
    """The newest state of the run in ``folder``, in float32."""
    config, tokenizer = remembered(folder)
    tokenizer = closing_tokenizer(tokenizer)
    model = build(tokenizer, config.vision_config)
    model.load_state_dict(torch.load(folder / "itc.pt", map_location="cpu", weights_only=True)["model"])
    return model.eval(), tokenizer


def save(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, target: Path) -> None:
    """Write an ordinary CLIP checkpoint in bf16."""
    objectives.limited(model.logit_scale)
    shared.save(model, tokenizer, target)
