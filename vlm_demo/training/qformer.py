"""Q-Former: BLIP-2's model for training, who sees whom in it, and where its queries are shown to look.

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

from functools import cache
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    CLIPVisionConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from vlm_demo.training import objectives
from vlm_demo.training.gaze import TINY
from vlm_demo.training.words import patch_words

SIDE, WIDTH, LAYERS = 7, 256, 3  # of the Q-Former; SIDE × SIDE queries
QUERIES = SIDE * SIDE
LONGEST = 128  # tokens of a text


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
        self.doubt = nn.Linear(WIDTH, 1)  # whether a word is the wrong one; used in training only

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


def looking(model: Blip2) -> dict[int, nn.Module]:
    """The cross-attentions of the Q-Former, by layer."""
    return {i: layer.crossattention.attention for i, layer in enumerate(model.retrieval.qformer.encoder.layer)}


@cache
def cells(grid: int) -> Tensor:
    """bool [QUERIES, patches]: which patches of a ``grid`` × ``grid`` picture a query keeps an eye on."""
    edges = torch.arange(SIDE) * grid // SIDE
    ends = torch.maximum(edges + 1, -(-(torch.arange(SIDE) + 1) * grid // SIDE))
    axis = torch.arange(grid)
    within = (axis >= edges[:, None]) & (axis < ends[:, None])
    return torch.einsum("ry,cx->rcyx", within.float(), within.float()).reshape(QUERIES, grid * grid) > 0


def reading(model: Blip2) -> dict[int, nn.Module]:
    """The self-attention in which a word is shown where to look: the first one whose queries have seen the picture."""
    layers = model.retrieval.qformer.encoder.layer
    return {-1: layers[min(1, len(layers) - 1)].attention.attention}


def word_gaze(weights: Tensor, texts: list[Tensor], shown: Tensor, told: Tensor) -> Tensor:
    """The mean negative log of the share that the last head of each token that names what a cell shows gives to the
    queries of all such cells.

    Args:
        weights: self-attention [B, heads, L, L] over Q₁ … Qₖ T₁ … Tₖ as `Blip2.joint` orders them.
        texts: k times int64 [B, Tᵢ].
        shown, told: as `cell_words` gives them.
    """
    start, costs = len(texts) * QUERIES, []
    for i, text in enumerate(texts):
        named = ((text[:, :, None, None] == told[:, None]) & shown[:, None, :, None]).any(-1)
        rows = weights[:, -1, start : start + text.shape[1], i * QUERIES : (i + 1) * QUERIES].float()
        costs.append(-((rows * named).sum(-1)[named.any(-1)] + TINY).log())
        start += text.shape[1]
    found = torch.cat(costs)
    return found.sum() / max(len(found), 1)


def changed(true: Tensor, wrong: Tensor, pad: int) -> Tensor:
    """bool [N, T]: the tokens of ``wrong`` [N, T] between what it begins and what it ends with as ``true`` [N, T]
    does."""
    differs = true != wrong
    begins = differs.cumsum(1) > 0
    lengths = [(text != pad).sum(1) for text in (true, wrong)]
    at = torch.arange(true.shape[1], device=true.device)
    back = [(length[:, None] - 1 - at).clamp(min=0) for length in lengths]
    same = true.gather(1, back[0]) == wrong.gather(1, back[1])  # the k-th token from the end
    tail = same.cumprod(1).sum(1)  # how many they share there
    ends = at < (lengths[1] - tail)[:, None]
    return begins & ends & (wrong != pad)


def cell_gaze(seen: dict[int, Tensor]) -> Tensor:
    """The mean negative log of the share that the first head of each query gives to its own cell, over the layers'
    cross-attention weights [B, heads, k · QUERIES, 1 + patches]."""
    losses = []
    for weights in seen.values():
        shares = weights[:, 0, :, 1:].unflatten(1, (-1, QUERIES))
        own = cells(isqrt(shares.shape[-1])).to(shares.device)
        losses.append(-((shares.float() * own).sum(-1) + TINY).log().mean())
    return torch.stack(losses).mean()


def cell_words(batch: dict[str, Tensor], form: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """What each query's cell shows most of, but for the background.

    Returns:
        bool [B, QUERIES], whether there is anything; and its words, int64 [B, QUERIES, n], see `words.patch_words`.
    """
    own = cells(isqrt(batch["shape"].shape[1])).to(batch["shape"].device)
    covered = ((batch["covered"].sum(-1) + 1) * (batch["shape"] > 0))[:, None] * own
    told = patch_words(batch, form).unflatten(0, batch["shape"].shape)
    best = covered.argmax(-1)[..., None].expand(-1, -1, told.shape[-1])
    return covered.amax(-1) > 0, told.gather(1, best)
