"""Q-Former bridge: BLIP-2's trained part as one module, for training; the language model and the tower are outside it.

Patch features go in; out come image tokens for the language model, or vectors that are compared with those of texts, or
logits of a match. The same weights as in ``EfficientNetBlip2ForConditionalGeneration`` and
``EfficientNetBlip2ForImageTextRetrieval``, and the same arithmetic. Li et al. 2023 (https://arxiv.org/abs/2301.12597).
It begins as a text encoder, as theirs begins as BERT. What only texts go through stays as it was, and so does the
self-attention of its lower half, which both go through: so the trained part is small enough to ship.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel, Blip2TextEmbeddings

from vlm_demo.models.efficientnet_bridges import FeatureHead
from vlm_demo.models.efficientnet_bridges_config import EfficientNetBlip2Config

FIRST_LOG_SCALE, MOST_LOG_SCALE = math.log(1 / 0.07), math.log(100.0)  # CLIP, section 2.5
QUERY_STD = 0.2
LABEL_SMOOTHING = 0.1  # of the contrastive targets, as BLIP-2 has it
# Share of ITM's negatives that are drawn uniformly. With hard ones alone, which differ from the true pair in a detail,
# a short training gets no signal: it has to learn first which pairs have nothing in common.
UNIFORM = 0.5


class QFormerBridge(nn.Module):
    """Patch features [B, N, channels] → image tokens [B, queries, d_llm].

    Args:
        config: sizes of all parts.
        initial: weights of embeddings and Q-Former that it begins with, see ``minilm.qformer_weights``.
    """

    def __init__(self, config: EfficientNetBlip2Config, initial: Mapping[str, Tensor]) -> None:
        super().__init__()
        vision, former = config.vision_config, config.qformer_config
        width, itc_width = former.hidden_size, config.image_text_hidden_size
        self.longest, self.standardized = former.max_position_embeddings, False
        self.feature_head = FeatureHead(vision.channels, vision.hidden_size, vision.positions)
        self.query_tokens = nn.Parameter(torch.randn(1, config.num_query_tokens, width) * QUERY_STD)
        # On a CPU the backward pass of attention written out is faster than SDPA's.
        self.qformer = Blip2QFormerModel._from_config(former, attn_implementation="eager")
        self.embeddings = Blip2TextEmbeddings(former)
        self._initialize(initial, frozen_layers=former.num_hidden_layers // 2)
        self.language_projection = nn.Linear(width, config.text_config.hidden_size)
        self.vision_projection, self.text_projection = nn.Linear(width, itc_width), nn.Linear(width, itc_width)
        self.itm_head = nn.Linear(width, 2)
        self.itc_log_scale = nn.Parameter(torch.tensor(FIRST_LOG_SCALE))

    def _initialize(self, initial: Mapping[str, Tensor], frozen_layers: int) -> None:
        """Take the weights over and freeze those that stay as they are."""
        unexpected = self.load_state_dict(initial, strict=False).unexpected_keys
        if unexpected:
            raise ValueError(f"no such weights: {', '.join(unexpected)}")
        lower = tuple(f"qformer.encoder.layer.{i}.attention." for i in range(frozen_layers))
        for name, value in self.named_parameters():
            text_only = ".intermediate." in name or (".output." in name and "attention." not in name)
            if name in initial and (text_only or name.startswith(("embeddings.", "qformer.layernorm.", *lower))):
                value.requires_grad_(False)
        self.initialized = frozenset(initial)

    def trained(self) -> dict[str, nn.Parameter]:
        """The trained weights by the names that ``trained.safetensors`` has."""
        return {
            f"vision_model.{name}" if name.startswith("feature_head.") else name: value
            for name, value in self.named_parameters()
            if value.requires_grad
        }

    def standardize(self, features: Tensor) -> None:
        """See ``FeatureHead.standardize``; only once, as it resets the projection."""
        if not self.standardized:
            self.feature_head.standardize(features)
            self.standardized = True

    def forward(self, features: Tensor) -> Tensor:
        return self.language_projection(self.query(self.feature_head(features)))

    def query(self, keys: Tensor) -> Tensor:
        """The Q-Former's output [B, queries, d] for keys [B, N, d_vision]."""
        tokens = self.query_tokens.expand(len(keys), -1, -1)
        return self.qformer(query_embeds=tokens, encoder_hidden_states=keys).last_hidden_state

    def compared(self, queries: Tensor) -> Tensor:
        """Unit vectors [B, queries, itc_width] of the Q-Former's output."""
        return normalize(self.vision_projection(queries).float(), dim=-1)

    def texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors [N, itc_width] of texts [N, T], padded on the right; ``mask`` is 1 on what is text."""
        embedded = self.embeddings(input_ids=ids)
        hidden = self.qformer(query_embeds=embedded, query_length=0, attention_mask=mask).last_hidden_state
        return normalize(self.text_projection(hidden[:, 0]).float(), dim=-1)

    def itm_logits(self, keys: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits [N, 2], no match and match, of pictures and texts read together."""
        tokens = self.query_tokens.expand(len(ids), -1, -1)
        count = tokens.shape[1]
        hidden = self.qformer(
            query_embeds=self.embeddings(input_ids=ids, query_embeds=tokens),
            query_length=count,
            attention_mask=torch.cat([mask.new_ones(len(ids), count), mask], 1),
            encoder_hidden_states=keys,
        ).last_hidden_state
        return self.itm_head(hidden[:, :count]).mean(1).float()

    def scale(self) -> Tensor:
        """1 / temperature; the parameter is clamped to at most log 100, as CLIP does."""
        with torch.no_grad():
            self.itc_log_scale.clamp_(max=MOST_LOG_SCALE)
        return self.itc_log_scale.exp()


class AlignedQueries(nn.Module):
    """The language projection of the Q-Former's output, alone; ``linear_2`` is the name that alignment looks for."""

    def __init__(self, projection: nn.Linear) -> None:
        super().__init__()
        self.linear_2 = projection

    def forward(self, queries: Tensor) -> Tensor:
        return self.linear_2(queries)


def similarities(pictures: Tensor, texts: Tensor) -> Tensor:
    """Cosines [B, N] of unit vectors [B, queries, d] and [N, d]: of a picture's queries the nearest one counts."""
    return linear(pictures.flatten(0, 1), texts).unflatten(0, pictures.shape[:2]).amax(1)


def contrastive_loss(cosines: Tensor, scale: Tensor) -> Tensor:
    """ITC: a picture's nearest text should be its own, and a text's nearest picture (section 3.2)."""
    index = torch.arange(len(cosines))
    scores = cosines * scale
    return (
        cross_entropy(scores, index, label_smoothing=LABEL_SMOOTHING)
        + cross_entropy(scores.T, index, label_smoothing=LABEL_SMOOTHING)
    ) / 2


@torch.no_grad()
def negatives(scores: Tensor, generator: torch.Generator) -> Tensor:
    """For each row of scores [B, B] another column, int64 [B]: in a share UNIFORM of the rows any other, else one drawn
    in proportion to exp(score) (ALBEF, Li et al. 2021, https://arxiv.org/abs/2107.07651, section 3.2)."""
    others = ~torch.eye(len(scores), dtype=torch.bool)
    hard = scores.float().masked_fill(~others, -torch.inf).softmax(1)
    weights = UNIFORM * others / (len(scores) - 1) + (1 - UNIFORM) * hard
    return torch.multinomial(weights, 1, generator=generator)[:, 0]


def alikeness(queries: Tensor) -> Tensor:
    """Mean squared cosine of different queries of a picture, of the Q-Former's output [B, queries, d].

    ITC counts a picture's nearest query alone and ITM their mean, so nothing else keeps the queries from coming to be
    one and the same; the text encoder that the Q-Former begins as makes its tokens alike to begin with."""
    unit, count = normalize(queries.float(), dim=-1), queries.shape[1]
    squared = (unit @ unit.transpose(1, 2)).square().sum((1, 2))
    return (squared - count).mean() / max(1, count * (count - 1))


def compare(
    bridge: QFormerBridge, features: Tensor, ids: Tensor, mask: Tensor, itm_pictures: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """ITC of a batch of pictures [B, N, channels] and a text [B, T] of each, and ITM of ``itm_pictures`` of them.

    ITM sees each of these with its own text and with a wrong one, and its text with a wrong picture, see ``negatives``.
    Returns:
        ``itc``, ``itm`` and ``alike`` (see ``alikeness``), losses; ``matched``, the share of pairs classified right.
    """
    keys = bridge.feature_head(features)
    queries = bridge.query(keys)
    cosines = similarities(bridge.compared(queries), bridge.texts(ids, mask))
    scale = bridge.scale()
    scores = (cosines * scale).detach()
    chosen = torch.randperm(len(ids), generator=generator)[:itm_pictures]
    texts, pictures = negatives(scores, generator)[chosen], negatives(scores.T, generator)[chosen]
    picture_rows, text_rows = torch.cat([chosen, chosen, pictures]), torch.cat([chosen, texts, chosen])
    logits = bridge.itm_logits(keys[picture_rows], ids[text_rows], mask[text_rows])
    match = (torch.arange(len(picture_rows)) < len(chosen)).long()
    # Half of the pairs are true in BLIP-2's sum too: a third would be a prior that the head learns first.
    losses = cross_entropy(logits, match, reduction="none")
    itm = (losses[: len(chosen)].mean() + losses[len(chosen) :].mean()) / 2
    matched = (logits.argmax(1) == match).float().mean()
    return {"itc": contrastive_loss(cosines, scale), "itm": itm, "alike": alikeness(queries), "matched": matched}


@torch.no_grad()
def retrieval_figures(
    bridge: QFormerBridge, features: Tensor, ids: Tensor, mask: Tensor, group: int = 100
) -> dict[str, float]:
    """How well pictures [n, N, channels] and a text [n, T] of each find one another, ``group`` at a time.

    Returns:
        ``text R@1`` and ``picture R@1``: the share of pictures (texts) whose own text (picture) is the nearest of
        ``group``. ``ITM``: the share of pairs classified correctly, each picture with its own text and the nearest
        wrong one.
    """
    hits: dict[str, list[Tensor]] = {"text R@1": [], "picture R@1": [], "ITM": []}
    for start in range(0, len(ids) - group + 1, group):
        rows = slice(start, start + group)
        keys = torch.cat([bridge.feature_head(part) for part in features[rows].split(20)])
        vectors = torch.cat([bridge.compared(bridge.query(part)) for part in keys.split(20)])
        cosines = similarities(vectors, bridge.texts(ids[rows], mask[rows]))
        index = torch.arange(group)
        hits["text R@1"].append((cosines.argmax(1) == index).float())
        hits["picture R@1"].append((cosines.argmax(0) == index).float())
        wrong = cosines.clone().fill_diagonal_(-2.0).argmax(1)
        for text, match in ((index, 1), (wrong, 0)):
            parts = zip(keys.split(20), text.split(20), strict=True)
            predictions = torch.cat(
                [
                    bridge.itm_logits(part, ids[rows][text_rows], mask[rows][text_rows]).argmax(1)
                    for part, text_rows in parts
                ]
            )
            hits["ITM"].append((predictions == match).float())
    return {name: round(torch.cat(values).mean().item(), 3) for name, values in hits.items() if values}


def padded(texts: Sequence[str], tokenizer: Any, longest: int) -> tuple[Tensor, Tensor]:
    """Texts → ids [n, T] with BERT's first and last token around each, as the scorer reads them, and their mask."""
    first, last, pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    words = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    sequences = [[first, *text[: longest - 2], last] for text in words]
    length = max(map(len, sequences))
    ids = torch.tensor([sequence + [pad] * (length - len(sequence)) for sequence in sequences])
    mask = torch.tensor([[1] * len(sequence) + [0] * (length - len(sequence)) for sequence in sequences])
    return ids, mask
