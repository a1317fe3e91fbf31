"""Objectives: the three losses that join pictures and language; ITC, ITM and LM.

Symbols: B pictures with a caption each; vᵢ and tⱼ the unit vectors of picture i and caption j; sᵢⱼ = vᵢ·tⱼ their
similarity, -1..1; τ the temperature, learned as log(1/τ); σ = 1/τ the scale.

**ITC**, image-text contrastive: of all captions its own fits a picture best, and of all pictures its own fits a
caption best (Radford et al. 2021, "CLIP", https://arxiv.org/abs/2103.00020, figure 3):

    L = ½ · 1/B Σᵢ [ -log  exp(σ sᵢᵢ) / Σ_{j ∈ T(i)} exp(σ sᵢⱼ)   -log  exp(σ sᵢᵢ) / Σ_{j ∈ P(i)} exp(σ sⱼᵢ) ]

T(i) are the captions and P(i) the pictures that i is compared with. Plain CLIP takes the whole batch. But a drawn world
repeats itself: "a red circle" may be true of five pictures of a batch, and to push the other four away would teach
that true captions are wrong. Such *false negatives* are left out of T and P (`same`). T(i) gains captions that are
known to be false of picture i, such as its own with one word changed: without them a bag of words would do (Yuksekgonul
et al. 2023, https://arxiv.org/abs/2210.01936).

BLIP-2 gives a picture Q vectors, one a query, and takes the best: sᵢⱼ = max_q vᵢq·tⱼ (Li et al. 2023,
https://arxiv.org/abs/2301.12597, section 3.2). The momentum queue of ALBEF (Li et al. 2021,
https://arxiv.org/abs/2107.07651) is left out: a drawn world has new pictures for every batch.

**ITM**, image-text matching: one look at picture and caption together, a match or not:

    L = -1/N Σₙ log p(yₙ | picture n, caption n),   y ∈ {0 = no match, 1 = match}

Half of the pairs do not match, and those are *hard*: a caption j of another picture is drawn for picture i with a
probability in proportion to exp(σ sᵢⱼ), a picture for a caption likewise (ALBEF; BLIP, Li et al. 2022,
https://arxiv.org/abs/2201.12086, section 3.2), and again never one that may be true.

**LM**, language modelling: the caption, or the answer, word by word, given the picture:

    L = - Σₙ wₙ log p(yₙ | y₁ … yₙ₋₁, picture) / Σₙ wₙ

over the positions n whose label is not IGNORED; wₙ = 1 unless said otherwise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORED = -100
MAX_LOG_SCALE = math.log(100.0)  # CLIP, section 2.5: "to prevent training instability"
FIRST_LOG_SCALE = math.log(1 / 0.07)
EVEN = 1e-4  # what BLIP adds to every probability, so that none is 0


class Temperature(nn.Module):
    """The learned log(1/τ), which never scales by more than 100."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(FIRST_LOG_SCALE))

    def forward(self) -> Tensor:
        """The scale σ = 1/τ, a scalar."""
        return limited(self.log_scale).exp()


def limited(log_scale: nn.Parameter) -> nn.Parameter:
    """The parameter, put back in place to at most log 100 as CLIP does: a clamp in the formula would stop its
    gradient, and it could never come down again."""
    with torch.no_grad():
        log_scale.clamp_(max=MAX_LOG_SCALE)
    return log_scale


def similarities(pictures: Tensor, texts: Tensor) -> Tensor:
    """Cosines [B, T] of pictures [B, d], or of their best query [B, Q, d], with texts [T, d]."""
    pictures, texts = (functional.normalize(part.float(), dim=-1) for part in (pictures, texts))
    if pictures.ndim == 2:
        return pictures @ texts.T
    return torch.einsum("bqd,td->btq", pictures, texts).amax(-1)


def own_similarities(pictures: Tensor, texts: Tensor) -> Tensor:
    """Cosines [B, H] of each picture [B, d] or [B, Q, d] with texts of its own [B, H, d]."""
    pictures, texts = (functional.normalize(part.float(), dim=-1) for part in (pictures, texts))
    if pictures.ndim == 2:
        pictures = pictures[:, None]
    return torch.einsum("bqd,bhd->bhq", pictures, texts).amax(-1)


def itc(similarity: Tensor, scale: Tensor | float, same: Tensor | None = None, wrong: Tensor | None = None) -> Tensor:
    """The symmetric contrastive loss.

    Args:
        similarity: cosines [B, B] of picture i (row) and caption j (column); a pair's own lie on the diagonal.
        scale: σ = 1/τ.
        same: bool [B, B], caption j may be true of picture i too: not a negative. The diagonal is not looked at.
        wrong: cosines [B, H] of each picture with captions that are false of it.
    """
    scores = similarity.float() * scale
    own = torch.arange(len(scores), device=scores.device)
    if same is not None:
        scores = scores.masked_fill(same & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device), -math.inf)
    rows = scores if wrong is None else torch.cat([scores, wrong.float() * scale], 1)
    return (functional.cross_entropy(rows, own) + functional.cross_entropy(scores.T, own)) / 2


def itm(logits: Tensor, match: Tensor) -> Tensor:
    """The matching loss of logits [N, 2] (no match, match) and match [N], bool or 0/1."""
    return functional.cross_entropy(logits.float(), match.long())


@torch.no_grad()
def hard_negatives(
    similarity: Tensor, scale: Tensor | float, same: Tensor | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """For each row the index of another column, int64 [B], drawn in proportion to exp(scale · similarity); -1 where
    every other one may be the same. Transpose similarity and same to draw pictures for captions."""
    taken = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    if same is not None:
        taken = taken | same
    none = taken.all(1)
    weights = (similarity.float() * scale).softmax(1) + EVEN
    weights = weights.masked_fill(taken & ~none[:, None], 0)
    drawn = torch.multinomial(weights.cpu(), 1, generator=generator).squeeze(1).to(similarity.device)
    return drawn.masked_fill(none, -1)


def lm(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """The next-token loss.

    Args:
        logits: [..., vocabulary] at the positions that predict.
        labels: the token to be predicted *there* [...] (already shifted), or IGNORED.
        weights: what each counts [...], or None for 1 each.
    """
    flat = labels.flatten()
    losses = functional.cross_entropy(logits.flatten(0, -2).float(), flat, reduction="none", ignore_index=IGNORED)
    counted = (flat != IGNORED).float() if weights is None else weights.flatten() * (flat != IGNORED)
    return (losses * counted).sum() / counted.sum().clamp(min=1e-6)
