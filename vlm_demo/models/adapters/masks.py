"""Masks: attention masks where some tokens see later ones, as a prefix or a picture's tokens do."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def seen(positions: range, blocks: Sequence[int], window: int | None = None) -> torch.Tensor:
    """True where a token sees another: what came before, and all of its own block.

    Args:
        positions: of the queries; the keys are all up to the last of them, or with a window those that a
            cache of that window still holds.
        blocks: the block of each position from 0 on; -1, and what is beyond, stands in none.
        window: how many tokens back each one sees at most, itself counted; None = all.
    Returns:
        bool [1, 1, positions, keys].
    """
    first = 0 if window is None else max(0, positions.start - window + 1)
    block = torch.full((positions.stop,), -1)
    block[: len(blocks)] = torch.tensor(blocks[: positions.stop])
    image_attentions, keys = torch.tensor(positions)[:, None], torch.arange(first, positions.stop)[None]
    together = (block[image_attentions] == block[keys]) & (block[keys] >= 0)
    allowed = (keys <= image_attentions) | together
    if window is not None:
        allowed &= keys > image_attentions - window
    return allowed[None, None]


def runs(positions: Sequence[int], length: int) -> list[int]:
    """For each of ``length`` tokens which run of neighbouring ``positions`` it belongs to, or -1."""
    found, run, last = [-1] * length, -1, None
    for at in positions:
        run += last is None or at != last + 1
        found[at], last = run, at
    return found
