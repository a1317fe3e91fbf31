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
SMOOTHED = 0.1  # of the contrastive targets, as BLIP-2 has it
EVEN = 1e-4  # added to each probability that a pair becomes a negative, so that none is 0


class QFormerBridge(nn.Module):
    """Patch features [B, N, channels] → image tokens [B, queries, d_llm].

    Args:
        config: sizes of all parts.
        begun: weights of embeddings and Q-Former that it begins with, see ``minilm.qformer_weights``.
    """

    def __init__(self, config: EfficientNetBlip2Config, begun: Mapping[str, Tensor]) -> None:
        super().__init__()
        vision, former = config.vision_config, config.qformer_config
        width, compared = former.hidden_size, config.image_text_hidden_size
        self.longest, self.standardized = former.max_position_embeddings, False
        self.feature_head = FeatureHead(vision.channels, vision.hidden_size, vision.positions)
        self.query_tokens = nn.Parameter(torch.randn(1, config.num_query_tokens, width) * QUERY_STD)
        # On a CPU the backward pass of attention written out is faster than SDPA's.
        self.qformer = Blip2QFormerModel._from_config(former, attn_implementation="eager")
        self.embeddings = Blip2TextEmbeddings(former)
        self._begin(begun, frozen_layers=former.num_hidden_layers // 2)
        self.language_projection = nn.Linear(width, config.text_config.hidden_size)
        self.vision_projection, self.text_projection = nn.Linear(width, compared), nn.Linear(width, compared)
        self.itm_head = nn.Linear(width, 2)
        self.itc_log_scale = nn.Parameter(torch.tensor(FIRST_LOG_SCALE))

    def _begin(self, begun: Mapping[str, Tensor], frozen_layers: int) -> None:
        """Take the weights over and freeze those that stay as they are."""
        odd = self.load_state_dict(begun, strict=False).unexpected_keys
        if odd:
            raise ValueError(f"no such weights: {', '.join(odd)}")
        lower = tuple(f"qformer.encoder.layer.{i}.attention." for i in range(frozen_layers))
        for name, value in self.named_parameters():
            of_texts = ".intermediate." in name or (".output." in name and "attention." not in name)
            if name in begun and (of_texts or name.startswith(("embeddings.", "qformer.layernorm.", *lower))):
                value.requires_grad_(False)
        self.begun = frozenset(begun)

    @property
    def linear_2(self) -> nn.Linear:
        """The last layer, by the name under which ``alignment`` looks for it."""
        return self.language_projection

    def trained(self) -> dict[str, nn.Parameter]:
        """The trained weights by the names that ``trained.safetensors`` has."""
        return {
            f"vision_model.{name}" if name.startswith("feature_head.") else name: value
            for name, value in self.named_parameters()
            if value.requires_grad
        }

    def standardize(self, features: Tensor) -> None:
        """See ``FeatureHead.standardize``; once, for it begins the projection anew."""
        if not self.standardized:
            self.feature_head.standardize(features)
            self.standardized = True

    def forward(self, features: Tensor) -> Tensor:
        return self.language_projection(self.queried(self.feature_head(features)))

    def queried(self, keys: Tensor) -> Tensor:
        """What the queries gather from keys [B, N, d_vision]: [B, queries, d]."""
        tokens = self.query_tokens.expand(len(keys), -1, -1)
        return self.qformer(query_embeds=tokens, encoder_hidden_states=keys).last_hidden_state

    def pictures(self, keys: Tensor) -> Tensor:
        """Unit vectors [B, queries, compared]."""
        return normalize(self.vision_projection(self.queried(keys)).float(), dim=-1)

    def texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors [N, compared] of texts [N, T], padded on the right; ``mask`` is 1 on what is text."""
        embedded = self.embeddings(input_ids=ids)
        read = self.qformer(query_embeds=embedded, query_length=0, attention_mask=mask).last_hidden_state
        return normalize(self.text_projection(read[:, 0]).float(), dim=-1)

    def judged(self, keys: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits [N, 2], no match and match, of pictures and texts read together."""
        tokens = self.query_tokens.expand(len(ids), -1, -1)
        count = tokens.shape[1]
        read = self.qformer(
            query_embeds=self.embeddings(input_ids=ids, query_embeds=tokens),
            query_length=count,
            attention_mask=torch.cat([mask.new_ones(len(ids), count), mask], 1),
            encoder_hidden_states=keys,
        ).last_hidden_state
        return self.itm_head(read[:, :count]).mean(1).float()

    def scale(self) -> Tensor:
        """1 / temperature; the parameter is put back to at most log 100, as CLIP does."""
        with torch.no_grad():
            self.itc_log_scale.clamp_(max=MOST_LOG_SCALE)
        return self.itc_log_scale.exp()


def similarities(pictures: Tensor, texts: Tensor) -> Tensor:
    """Cosines [B, N] of unit vectors [B, queries, d] and [N, d]: of a picture's queries the nearest one counts."""
    return linear(pictures.flatten(0, 1), texts).unflatten(0, pictures.shape[:2]).amax(1)


def contrastive_loss(alike: Tensor, scale: Tensor) -> Tensor:
    """ITC: of all texts its own is the nearest to a picture, and of all pictures its own to a text (section 3.2)."""
    index = torch.arange(len(alike))
    scores = alike * scale
    return (
        cross_entropy(scores, index, label_smoothing=SMOOTHED)
        + cross_entropy(scores.T, index, label_smoothing=SMOOTHED)
    ) / 2


@torch.no_grad()
def hard_negatives(scores: Tensor, generator: torch.Generator) -> Tensor:
    """For each row of scores [B, B] another column, int64 [B], drawn in proportion to exp(score) (ALBEF, Li et al.
    2021, https://arxiv.org/abs/2107.07651, section 3.2)."""
    weights = scores.float().softmax(1) + EVEN
    return torch.multinomial(weights.fill_diagonal_(0.0), 1, generator=generator)[:, 0]


def compare(
    bridge: QFormerBridge, features: Tensor, ids: Tensor, mask: Tensor, judged: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """ITC of a batch of pictures [B, N, channels] and a text [B, T] of each, and ITM of ``judged`` of them.

    ITM sees each of these with its own text, with a hard wrong one, and its text with a hard wrong picture.
    Returns:
        ``itc`` and ``itm``, losses; ``matched``, the share of pairs judged rightly.
    """
    keys = bridge.feature_head(features)
    alike = similarities(bridge.pictures(keys), bridge.texts(ids, mask))
    scale = bridge.scale()
    scores = (alike * scale).detach()
    some = torch.randperm(len(ids), generator=generator)[:judged]
    texts, pictures = hard_negatives(scores, generator)[some], hard_negatives(scores.T, generator)[some]
    at, read = torch.cat([some, some, pictures]), torch.cat([some, texts, some])
    logits = bridge.judged(keys[at], ids[read], mask[read])
    match = (torch.arange(len(at)) < len(some)).long()
    # Half of the pairs are true in BLIP-2's sum too: a third would be a prior that the head learns first.
    losses = cross_entropy(logits, match, reduction="none")
    itm = (losses[: len(some)].mean() + losses[len(some) :].mean()) / 2
    matched = (logits.argmax(1) == match).float().mean()
    return {"itc": contrastive_loss(alike, scale), "itm": itm, "matched": matched}


@torch.no_grad()
def retrieval_figures(
    bridge: QFormerBridge, features: Tensor, ids: Tensor, mask: Tensor, of: int = 100
) -> dict[str, float]:
    """How well pictures [n, N, channels] and a text [n, T] of each find one another, ``of`` at a time.

    Returns:
        ``text R@1`` and ``picture R@1``: the share of pictures (texts) whose own text (picture) is the nearest of
        ``of``. ``ITM``: the share of pairs judged rightly, each picture with its own text and the nearest wrong one.
    """
    found: dict[str, list[Tensor]] = {"text R@1": [], "picture R@1": [], "ITM": []}
    for start in range(0, len(ids) - of + 1, of):
        rows = slice(start, start + of)
        keys = torch.cat([bridge.feature_head(some) for some in features[rows].split(20)])
        seen = torch.cat([bridge.pictures(some) for some in keys.split(20)])
        alike = similarities(seen, bridge.texts(ids[rows], mask[rows]))
        index = torch.arange(of)
        found["text R@1"].append((alike.argmax(1) == index).float())
        found["picture R@1"].append((alike.argmax(0) == index).float())
        wrong = alike.clone().fill_diagonal_(-2.0).argmax(1)
        for text, match in ((index, 1), (wrong, 0)):
            parts = zip(keys.split(20), text.split(20), strict=True)
            verdicts = torch.cat([bridge.judged(some, ids[rows][at], mask[rows][at]).argmax(1) for some, at in parts])
            found["ITM"].append((verdicts == match).float())
    return {name: round(torch.cat(values).mean().item(), 3) for name, values in found.items() if values}


def padded(texts: Sequence[str], tokenizer: Any, longest: int) -> tuple[Tensor, Tensor]:
    """Texts → ids [n, T] with BERT's first and last token around each, as the scorer reads them, and their mask."""
    first, last, pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    words = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    coded = [[first, *text[: longest - 2], last] for text in words]
    length = max(map(len, coded))
    ids = torch.tensor([encoded + [pad] * (length - len(encoded)) for encoded in coded])
    mask = torch.tensor([[1] * len(encoded) + [0] * (length - len(encoded)) for encoded in coded])
    return ids, mask
