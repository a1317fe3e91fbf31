"""BLIP-2 recipe: the encoder and the language model stay as they are, and a Q-Former learns to stand between them.

1. ``refit``: `Blip2VisionModel` has no layer norm before its first layer as CLIP's has. It starts from the shared
   encoder with that norm folded into the patch embedding as far as a linear map can be, and learns to give the shared
   encoder's features (`distance`). From here on it is frozen.
2. ``represent``: 32 queries learn to gather from the patches what a caption says: ITC, ITM and LM (`objectives.py`).
3. ``generate``: the queries are projected into the frozen language model, which answers questions through them. Every
   fourth batch repeats stage 2, so that one Q-Former serves both.

Who sees whom in the Q-Former tells the objectives apart (BLIP-2, figure 2), Q being the queries and T the text; the
patches are seen by the queries alone, through cross-attention:

==========  ==========================  ==================================
objective   a query sees                a text token sees
==========  ==========================  ==================================
ITC         Q                           T
ITM         Q and T                     Q and T
LM          Q                           Q and the T before it, and itself
==========  ==========================  ==================================
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    Blip2VisionModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from vlm_demo.training import objectives, shared
from vlm_demo.training.captions import CaptionBatches
from vlm_demo.training.clip import contrast
from vlm_demo.training.data import PatchBatches, loader
from vlm_demo.training.packing import block_mask
from vlm_demo.training.patches import as_pixel_values
from vlm_demo.training.shared import (
    BridgedQuestions,
    Losses,
    Recipe,
    answer_losses,
    autocast,
    groups,
    load,
    moved,
    ready,
    remember,
    remembered,
    word_vectors,
)

SHARES = {"refit": 0.12, "represent": 0.44, "generate": 0.44}
QUERIES, WIDTH, LAYERS = 32, 256, 4  # of the Q-Former
LONGEST = 128  # tokens of a text
BATCH = 24
REHEARSED = 4  # in `generate` each so many-th batch is one of `represent`
CLAIMS = 2  # of each picture
ITM_WEIGHT = 3.0  # the other losses are several times as large, and ITM is the last to be learnt
ELSEWHERE = 1 / 3  # of the false full captions of ITM: those that are true of another picture


class Blip2(nn.Module):
    """Both of transformers' BLIP-2 classes around one encoder, one Q-Former and the same queries, and the temperature
    that neither has."""

    def __init__(self, config: Blip2Config) -> None:
        super().__init__()
        self.retrieval = Blip2ForImageTextRetrieval(config)
        self.generator = Blip2ForConditionalGeneration(config)
        for name in ("vision_model", "qformer", "query_tokens"):
            setattr(self.generator, name, getattr(self.retrieval, name))
        # transformers starts the queries at zero, and equal queries would stay equal.
        nn.init.normal_(self.retrieval.query_tokens, std=0.02)
        self.temperature = objectives.Temperature()

    def queried(self, features: Tensor) -> Tensor:
        """What the queries [B, Q, d] gather from the features [B, patches, d_vision] where there is no text."""
        tokens = self.retrieval.query_tokens.expand(len(features), -1, -1)
        return self.retrieval.qformer(query_embeds=tokens, encoder_hidden_states=features).last_hidden_state

    def read(self, ids: Tensor) -> Tensor:
        """Texts [N, T] alone → hidden states [N, T, d]."""
        embedded = self.retrieval.embeddings(input_ids=ids)
        mask = (ids != self.retrieval.config.qformer_config.pad_token_id).long()
        return self.retrieval.qformer(query_embeds=embedded, query_length=0, attention_mask=mask).last_hidden_state

    def joint(self, features: Tensor, texts: list[Tensor], kinds: tuple[str, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Queries and texts in one pass, each of the k texts of a picture with queries of its own.

        The texts share the work that the patches make: k groups (query tokens, text) stand side by side as
        Q₁ … Qₖ T₁ … Tₖ, and no group sees another.

        Args:
            features: [B, patches, d_vision].
            texts: k times int64 [B, Tᵢ].
            kinds: k of "itc", "itm" and "lm": who sees whom in each group.
        Returns:
            Hidden states of the queries [B, k, Q, d] and of the texts, k times [B, Tᵢ, d].
        """
        b, k, sizes = len(features), len(texts), [text.shape[1] for text in texts]
        tokens = self.retrieval.query_tokens.expand(b, -1, -1)
        q = tokens.shape[1]
        positions = torch.cat([torch.arange(size, device=features.device) for size in sizes])[None]
        embedded = self.retrieval.embeddings(torch.cat(texts, 1), positions, tokens.repeat(1, k, 1))
        pad = self.retrieval.config.qformer_config.pad_token_id
        allowed = [who_sees_whom(kind, q, text != pad) for kind, text in zip(kinds, texts, strict=True)]
        # A wider mask would make all scores wide, and twice as slow.
        dtype = torch.bfloat16 if torch.is_autocast_enabled(features.device.type) else features.dtype
        hidden = self.retrieval.qformer(
            query_embeds=embedded,
            query_length=k * q,
            attention_mask=additive(side_by_side(allowed, q), dtype),
            encoder_hidden_states=features,
        ).last_hidden_state
        return hidden[:, : k * q].reshape(b, k, q, -1), hidden[:, k * q :].split(sizes, 1)

    def predicted(self, hidden: Tensor) -> Tensor:
        """Logits of the Q-Former's LM, whose head is its word embeddings."""
        return functional.linear(hidden, self.retrieval.embeddings.word_embeddings.weight)


def who_sees_whom(kind: str, queries: int, present: Tensor) -> Tensor:
    """bool [B, Q + T, Q + T] for one of "itc", "itm" and "lm": row sees column; ``present`` [B, T] are the tokens that
    are no padding."""
    b, t = present.shape
    allowed = torch.zeros(b, queries + t, queries + t, dtype=torch.bool, device=present.device)
    allowed[:, :queries, :queries] = True
    if kind == "itm":
        allowed[:, :queries, queries:] = present[:, None]
    if kind in ("itm", "lm"):
        allowed[:, queries:, :queries] = True
    texts = present[:, None].expand(b, t, t)
    allowed[:, queries:, queries:] = texts.tril() if kind == "lm" else texts
    return allowed | torch.eye(queries + t, dtype=torch.bool, device=present.device)


def side_by_side(groups: list[Tensor], queries: int) -> Tensor:
    """bool [B, L, L], L = Σ (Q + Tᵢ), ordered Q₁ … Qₖ T₁ … Tₖ: each group [B, Q + Tᵢ, Q + Tᵢ] sees what it sees
    alone."""
    sizes = [group.shape[1] - queries for group in groups]
    b, length = len(groups[0]), len(groups) * queries + sum(sizes)
    every = torch.zeros(b, length, length, dtype=torch.bool, device=groups[0].device)
    start = len(groups) * queries
    for i, (group, size) in enumerate(zip(groups, sizes, strict=True)):
        own = [*range(i * queries, (i + 1) * queries), *range(start, start + size)]
        place = torch.tensor(own, device=every.device)
        every[:, place[:, None], place] = group
        start += size
    return every


def additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, 1, L, L] to be added to attention scores: the one form of mask that the Q-Former applies under every
    attention; it raises on 3 dimensions and leaks on a bool mask of 4 under eager."""
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


def build(tokenizer: PreTrainedTokenizerFast, clip: CLIPVisionConfig, text: LlamaConfig) -> Blip2:
    """The untrained model in float32."""
    vision = Blip2VisionConfig(
        hidden_size=clip.hidden_size,
        intermediate_size=clip.intermediate_size,
        num_hidden_layers=clip.num_hidden_layers,
        num_attention_heads=clip.num_attention_heads,
        hidden_act=clip.hidden_act,
        image_size=clip.image_size,
        patch_size=clip.patch_size,
        layer_norm_eps=clip.layer_norm_eps,
        initializer_range=0.02,
    )
    qformer = Blip2QFormerConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=WIDTH // 64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=LONGEST,
        pad_token_id=tokenizer.pad_token_id,
        cross_attention_frequency=1,
        encoder_hidden_size=clip.hidden_size,
        use_qformer_text_input=True,
    )
    config = Blip2Config(
        vision_config=vision.to_dict(),
        qformer_config=qformer.to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=QUERIES,
        image_text_hidden_size=WIDTH,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    return Blip2(config)


@torch.no_grad()
def refold(student: Blip2VisionModel, teacher: CLIPVisionModel, pixel_values: Tensor) -> None:
    """Start the student where it gives nearly the teacher's features.

    The teacher's first layer norm maps e, a patch's embedding with its position, to g (e - mean) / σ + b. Subtracting
    the mean is linear and goes into the patch embedding and the positions, g and b likewise; σ differs from patch to
    patch and becomes its root mean square over ``pixel_values`` [n, 3, h, w]. The class token meets no picture before
    that norm and is exact.
    """
    embeddings, norm = teacher.embeddings, teacher.pre_layrnorm
    whole = embeddings(pixel_values)
    spread = whole[:, 1:].var(-1, unbiased=False).add(norm.eps).mean().sqrt()
    kernel, positions = embeddings.patch_embedding.weight, embeddings.position_embedding.weight
    centred = (kernel - kernel.mean(0)) * norm.weight[:, None, None, None] / spread
    student.embeddings.patch_embedding.weight.copy_(centred)
    student.embeddings.patch_embedding.bias.zero_()
    placed = (positions - positions.mean(1, keepdim=True)) * norm.weight / spread + norm.bias
    placed[0] = 0
    student.embeddings.position_embedding.copy_(placed[None])
    student.embeddings.class_embedding.copy_(norm(whole[:1, :1]))
    for mine, theirs in zip(student.encoder.layers, teacher.encoder.layers, strict=True):
        attention = theirs.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        mine.self_attn.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        mine.self_attn.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
        mine.self_attn.projection.load_state_dict(attention.out_proj.state_dict())
        for name in ("layer_norm1", "layer_norm2", "mlp"):
            getattr(mine, name).load_state_dict(getattr(theirs, name).state_dict())
    student.post_layernorm.weight.fill_(1)
    student.post_layernorm.bias.zero_()


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The share of the teacher's features, each patch's normalised to mean 0 and variance 1 as the student's are, that
    the student's leave unexplained: their mean squared difference."""
    return functional.mse_loss(student.float(), functional.layer_norm(teacher.float(), teacher.shape[-1:]))


def refit_loss(batch: dict[str, Tensor], student: Blip2VisionModel, teacher: CLIPVisionModel, device: str) -> Losses:
    """The `distance` of the two encoders on a batch of pictures."""
    values = as_pixel_values(batch["pixels"].to(device))
    with autocast(device):
        with torch.no_grad():
            wanted = teacher(values).last_hidden_state
        given = student(values).last_hidden_state
    return {"total": distance(given, wanted), "examples": torch.tensor(len(values))}


def represent_loss(batch: dict[str, Tensor], model: Blip2, opener: int, device: str) -> Losses:
    """ITC + ITM + LM.

    ITC as in `clip.contrast`. ITM judges of every picture its full caption and its claims, and a false one of each:
    with one word changed, or the full caption of a picture that is much like it. LM writes the full caption, beginning
    with the token ``opener`` instead of ``<s>``. ``matched`` is the share of ITM's pairs judged rightly.
    """
    batch = moved(batch, device)
    full, claims, parts = batch["full"], batch["claims"], model.retrieval
    pad, told = parts.config.qformer_config.pad_token_id, full[:, 0]
    with autocast(device):
        with torch.no_grad():
            features = parts.vision_model(as_pixel_values(batch["pixels"])).last_hidden_state
        written = torch.cat([torch.full_like(told[:, :1], opener), told[:, 1:]], 1)
        queries, (read, words) = model.joint(features, [told, written], ("itc", "lm"))
        pictures = parts.vision_projection(queries[:, 0])
        false = model.read(full[:, 1])
        texts = parts.text_projection(torch.stack([read[:, 0], false[:, 0]], 1))
        claimed = parts.text_projection(model.read(claims.flatten(0, 2))[:, 0]).reshape(*claims.shape[:3], -1)
        labels = torch.where(told[:, 1:] == pad, objectives.IGNORED, told[:, 1:])
        writing = objectives.lm(model.predicted(words[:, :-1]), labels)
    scale = model.temperature()
    contrasts, similarity = contrast(pictures, texts, claimed, scale, batch)
    drawn = [told, _false(full, similarity, scale, batch["same"]), *claims.flatten(1, 2).unbind(1)]
    match = torch.tensor([True, False], device=device).repeat(len(full) * len(drawn) // 2)
    with autocast(device):
        judged, _ = model.joint(features, drawn, ("itm",) * len(drawn))
        logits = parts.itm_head(judged).mean(2).flatten(0, 1)
    matching = objectives.itm(logits, match)
    return {
        "total": contrasts["total"] + ITM_WEIGHT * matching + writing,
        "itc": contrasts["total"],
        "itm": matching,
        "lm": writing,
        "matched": ((logits[:, 1] > logits[:, 0]) == match).float().mean(),
        "apart": contrasts["apart"],
        "found": contrasts["found"],
        "examples": torch.tensor(len(full)),
    }


def _false(full: Tensor, similarity: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """A full caption that is false, for each picture [B, T]: its own with one word changed, or a hard one of another
    picture."""
    drawn = objectives.hard_negatives(similarity.detach(), scale.detach(), same)
    elsewhere = (torch.rand(len(full), device=full.device) < ELSEWHERE) & (drawn >= 0)
    return torch.where(elsewhere[:, None], full[drawn.clamp(min=0), 0], full[:, 1])


def generate_loss(batch: dict[str, Tensor], model: Blip2, opener: int, device: str) -> Losses:
    """LM on the answers to packed questions, the queries' outputs being the image tokens; of a batch of captions
    `represent_loss`."""
    if "same" in batch:
        repeated = represent_loss(batch, model, opener, device)
        return {"total": repeated["total"], "examples": repeated["examples"]}
    batch = moved(batch, device)
    parts = model.generator
    with autocast(device):
        with torch.no_grad():
            features = parts.vision_model(as_pixel_values(batch["pixels"])).last_hidden_state
        image_tokens = parts.language_projection(model.queried(features))
        embedded = parts.get_input_embeddings()(batch["ids"])
        where = batch["ids"] == parts.config.image_token_id
        embedded = embedded.to(image_tokens.dtype).masked_scatter(where[..., None], image_tokens.flatten(0, 1))
        hidden = parts.language_model.model(
            inputs_embeds=embedded,
            attention_mask=block_mask(batch["blocks"], embedded.dtype),
            position_ids=batch["positions"],
            use_cache=False,
        ).last_hidden_state
        return answer_losses(hidden, parts.language_model.lm_head, batch)


def train(
    folder: Path, minutes: float, seed: int, device: str, workers: int, resume: bool, start: Path
) -> dict[str, dict]:
    """Train around the encoder and the language model of the LLaVA in ``start``; returns what each stage did,
    checkpoints go to ``folder``."""
    torch.manual_seed(seed)
    llava, tokenizer = load(start)
    remember(folder, llava.config, tokenizer)
    model = build(tokenizer, llava.config.vision_config, llava.config.text_config)
    teacher, student = llava.model.vision_tower, model.retrieval.vision_model
    sample = next(iter(loader(PatchBatches(seed + 2, 0, size=32), 1)))
    refold(student, teacher, as_pixel_values(sample["pixels"]))
    model.generator.language_model.model.load_state_dict(llava.model.language_model.state_dict())
    model.generator.language_model.lm_head.load_state_dict(llava.lm_head.state_dict())
    words = model.retrieval.embeddings.word_embeddings
    words.weight.data.copy_(word_vectors(llava, words.num_embeddings))
    for part in (teacher, model):
        ready(part, device)
    opener, closer = (tokenizer.convert_tokens_to_ids(token) for token in ("<|assistant|>", "</s>"))
    recipe = Recipe(folder, minutes, resume, SHARES)

    def captions(at: int):
        return loader(CaptionBatches(seed, at, tokenizer, closer, BATCH, CLAIMS), workers)

    def both(at: int) -> Iterator[dict[str, Tensor]]:
        told = at // REHEARSED
        repeated = iter(loader(CaptionBatches(seed + 1, told, tokenizer, closer, BATCH, CLAIMS), 1))
        asked = iter(loader(BridgedQuestions(seed, at - told, tokenizer, folder.parent, QUERIES), workers))
        for number in itertools.count(at):
            yield next(repeated if number % REHEARSED == REHEARSED - 1 else asked)

    recipe.stage(
        "refit",
        {"vision": student},
        groups([student.encoder], [student.embeddings, student.post_layernorm], 4e-4, 4e-4),
        lambda at: loader(PatchBatches(seed, at), workers),
        partial(refit_loss, student=student, teacher=teacher, device=device),
    )
    whole = {"model": model}
    recipe.stage(
        "represent",
        whole,
        qformer_groups(model),
        captions,
        partial(represent_loss, model=model, opener=opener, device=device),
    )
    recipe.stage(
        "generate",
        whole,
        qformer_groups(model, generating=True),
        both,
        partial(generate_loss, model=model, opener=opener, device=device),
    )
    return recipe.done


def qformer_groups(model: Blip2, generating: bool = False) -> list[dict]:
    """The Q-Former with its heads, and the projection into the language model, as parameter groups."""
    parts = model.retrieval
    others = [
        parts.qformer.layernorm, parts.embeddings, parts.vision_projection, parts.text_projection, parts.itm_head,
        parts.query_tokens, model.temperature,
    ]  # fmt: skip
    if generating:
        others.append(model.generator.language_projection)
    return groups([parts.qformer.encoder], others, 6e-4, 1.2e-3)


def load_latest(folder: Path) -> tuple[Blip2, PreTrainedTokenizerFast]:
    """The newest state of the run in ``folder``, in float32."""
    config, tokenizer = remembered(folder)
    model = build(tokenizer, config.vision_config, config.text_config)
    name = next(name for name in reversed(SHARES) if name != "refit" and (folder / f"{name}.pt").exists())
    model.load_state_dict(torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=True)["model"])
    return model.eval(), tokenizer


def save(model: Blip2, tokenizer: PreTrainedTokenizerFast, target: Path) -> None:
    """Write one checkpoint in bf16 that both of transformers' classes load: the generator's, in which the heads that
    only the other one has lie beside its weights, under their own names. The temperature, which neither class has, is
    ``itc_log_scale`` in the config, log(1/τ)."""
    model.to(torch.bfloat16)
    generator, retrieval = model.generator, model.retrieval
    own = generator.state_dict().keys()
    more = {key: value for key, value in retrieval.state_dict().items() if key not in own}
    generator.config.itc_log_scale = round(objectives.limited(model.temperature.log_scale).item(), 6)
    shared.save(generator, tokenizer, target, more)
