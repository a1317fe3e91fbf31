"""Words: what every patch of a drawn picture shows, said with the tokens of the language model.

An image token, or a query of a Q-Former, learns to speak the language model's language: to lie near the embeddings of
the words for the shape, colour, traits and place of what it shows. This spares the bridge the slow search for a
language that answers alone would teach.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from vlm_demo.synthetic.world import TRAITS
from vlm_demo.training.patches import COLOUR_NAMES, SHAPE_NAMES

ROW_NAMES, COLUMN_NAMES = ("top", "center", "bottom"), ("left", "center", "right")
NAMED = ("shape", "colour", "row", "column")  # the labels that every patch has
NEARNESS = 16.0  # the inverse temperature of the cosine between an image token and a word


@dataclass(frozen=True)
class PatchWords:
    """The words for what a patch shows and where, as tokens: int64 [names] in the order of SHAPE_NAMES, COLOUR_NAMES,
    ROW_NAMES, COLUMN_NAMES and TRAITS.

    ``asked`` are the forms inside a question (" red"), ``said`` those that begin an answer ("red").
    """

    asked: tuple[Tensor, ...]
    said: tuple[Tensor, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast, device: str) -> PatchWords:
        """The first token of every name."""

        def ids(names: tuple[str, ...], lead: str) -> Tensor:
            first = [tokenizer(lead + name, add_special_tokens=False).input_ids[0] for name in names]
            return torch.tensor(first, device=device)

        every = (SHAPE_NAMES, COLOUR_NAMES, ROW_NAMES, COLUMN_NAMES, TRAITS)
        return cls(*(tuple(ids(names, lead) for names in every) for lead in (" ", "")))


def patch_words(batch: dict[str, Tensor], form: tuple[Tensor, ...]) -> Tensor:
    """The words of every patch, int64 [B * patches, n]: its shape, colour, row, column and traits; -1 = no word."""
    named = [ids[batch[key].clamp(min=0).flatten()] for key, ids in zip(NAMED, form[:-1], strict=True)]
    traits = torch.where(batch["traits"].flatten(0, 1) > 0, form[-1], -1)
    return torch.cat([torch.stack(named, -1), traits], -1)


def word_loss(logits: Tensor, words: Tensor) -> Tensor:
    """The cross-entropy [n] of each of ``logits`` [n, vocabulary] towards its ``words`` [n, words], an equal part of it
    each; -1 = no word."""
    costs = -logits.float().log_softmax(-1).gather(-1, words.clamp(min=0))
    return (costs * (words >= 0)).sum(-1) / (words >= 0).sum(-1)


def nearness(tokens: Tensor, vocabulary: Tensor) -> Tensor:
    """Logits [n, words] of the words near ``tokens`` [n, d]: their cosine, sharpened; ``vocabulary`` is [words, d]."""
    return NEARNESS * functional.normalize(tokens.float(), dim=-1) @ functional.normalize(vocabulary.float(), dim=-1).T


def spoken(batch: dict[str, Tensor], words: PatchWords, embedding: nn.Embedding) -> Tensor:
    """Image tokens [B, patches, d] that are the mean of the embeddings of the patch's words, as a perfect bridge would
    make them."""
    told = patch_words(batch, words.asked)
    there = (told >= 0)[..., None]
    means = (embedding(told.clamp(min=0)) * there).sum(-2) / there.sum(-2)
    return means.reshape(*batch["shape"].shape, -1)
