"""Gaze: a few attention heads of the language model are shown where to look, from the truth of the drawn pictures.

A question about a drawn picture comes with the things that its answer is about, and a field copied from OCR text with
the place that it is copied from. Telling one head of the right layer so, as supervision of attention for question
answering does (Qiao et al. 2018, https://arxiv.org/abs/1709.06308), spares the language model the search for retrieval,
the slowest part of learning from few examples, and makes the attention a map worth reading.

Every target is a set of earlier positions in the packed sequence, in parts that shall get equal shares:

=================  =====  =====  ==============================  ====================================================
aim                layer  heads  a position of                   looks at
=================  =====  =====  ==============================  ====================================================
previous           0      0      OCR text, answers, and names    the token before
                                 in questions
line               1      0      OCR text                        how its line begins
place              1      1      a mark in OCR text, and the     patches that the printed part covers
                                 first token behind it
named              1      2      a printed name in a question    the same token in OCR text
labelled           1      3      a name in OCR text              patches of what it names
things             2      0      an answer about a picture       patches of what it is about, ``<s>`` if there is
                                                                 none; of a list of things the one named before
things             2      0      a printed name in a question    patches of what it names
asked              2      0      an answer to a question that    the name's first token in the question
                                 holds a printed name
high, mid, low     2      1..3   the same                        the middles of the things to be counted in that third
                                                                 of the picture and ``<s>``, alike: shares that count
source             3      0      an answer copied from OCR text  the token to be copied
again              3      1      an answer about a picture       patches of what it is about; of a list the next one
left, right        3      2, 3   the same                        the things to be counted in that half and ``<s>``
=================  =====  =====  ==============================  ====================================================

A question about a printed name goes the way by the name: it is found again in the OCR text, its mark tells where it
stands, and from there the step of the answer finds the thing or the field (``again``, ``source``); so ``things`` and
the counting heads are not told what to do then.

A softmax cannot add, but the share that ``<s>`` keeps, 1 / (n + 1), tells n; the fewer things a head has to count, the
further apart these shares lie, so five heads count a part of the picture each.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

TINY = 1e-5
GAZE_WEIGHT = 0.6  # beside the loss on the answers


@dataclass(frozen=True)
class Aim:
    """Which ``head`` of the language model's ``layer`` has a purpose."""

    layer: int
    head: int


THIRDS, HALVES = ("high", "mid", "low"), ("left", "right")
COUNTING = (*THIRDS, *HALVES)
SIGHT = ("place", "labelled", "things", "again", *THIRDS, *HALVES)  # the aims whose targets are patches
FIRST_PATCH = 2  # the position of the first image token, after ``<s> <|user|>``
AIMS = {
    "previous": Aim(0, 0),
    "line": Aim(1, 0),
    "place": Aim(1, 1),
    "named": Aim(1, 2),
    "labelled": Aim(1, 3),
    "things": Aim(2, 0),
    "asked": Aim(2, 0),
    **{zone: Aim(2, 1 + i) for i, zone in enumerate(THIRDS)},
    "source": Aim(3, 0),
    "again": Aim(3, 1),
    **{zone: Aim(3, 2 + i) for i, zone in enumerate(HALVES)},
}
Gaze = dict[str, list[tuple[int, int, int]]]  # for each of AIMS rows of (position, part, target position)


def decoders(language_model: nn.Module) -> dict[int, nn.Module]:
    """The self-attentions of the layers that have an aim, by layer."""
    return {i: language_model.layers[i].self_attn for i in sorted({aim.layer for aim in AIMS.values()})}


def on_patches(targets: dict[str, Tensor], leading: int) -> dict[str, Tensor]:
    """The targets of SIGHT for attention whose keys are patches after ``leading`` others, the first of which takes the
    place of ``<s>``."""
    moved = {}
    for name in SIGHT:
        rows = targets[name].clone()
        rows[:, 3] = torch.where(rows[:, 3] == 0, 0, rows[:, 3] - FIRST_PATCH + leading)
        moved[name] = rows
    return moved


@contextmanager
def watched(attentions: dict[int, nn.Module]):
    """The attention weights [B, heads, queries, keys] of these modules by their numbers, filled by the forward pass."""
    seen: dict[int, Tensor] = {}

    def keep(index: int):
        def hook(_module, _inputs, outputs) -> None:
            seen[index] = outputs[1]

        return hook

    hooks = [module.register_forward_hook(keep(i)) for i, module in attentions.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def gaze_loss(seen: dict[int, Tensor], targets: dict[str, Tensor]) -> Tensor:
    """How far the heads are from looking where they should: the sum over aims of the mean negative log share of a part,
    less what a perfect gaze, the same for each part, would cost.

    That is a divergence and hardly minds shares that are a third off, but a count does: the heads that count pay for
    the error of each part's log share as well (smooth L1, Girshick 2015, https://arxiv.org/abs/1504.08083, eq. 3).

    Args:
        seen: attention weights by layer, [B, heads, queries, keys].
        targets: for some of AIMS int64 [n, 4], rows of (sequence, looking position, part, target position), sorted.
    """
    device = next(iter(seen.values())).device
    total = torch.zeros((), device=device)
    for name, aim in AIMS.items():
        rows = targets.get(name, ())
        if not len(rows):
            continue
        sequence, looking, part, target = rows.unbind(1)
        base = int(part.max()) + 1
        numbered = (sequence * seen[aim.layer].shape[-2] + looking) * base + part
        parts, part_of = torch.unique_consecutive(numbered, return_inverse=True)
        _, gaze_of, sizes = torch.unique_consecutive(parts // base, return_inverse=True, return_counts=True)
        shares = seen[aim.layer][sequence, aim.head, looking, target].float()
        looked = torch.zeros(len(parts), device=device).index_add(0, part_of, shares)
        off = (looked + TINY).log() + sizes[gaze_of].log()  # 0 where the share is right
        costs = -off
        if name in COUNTING:
            costs = costs + functional.smooth_l1_loss(off, torch.zeros_like(off), beta=0.5, reduction="none")
        means = torch.zeros(len(sizes), device=device).index_add(0, gaze_of, costs) / sizes
        total = total + means.mean()
    return total
