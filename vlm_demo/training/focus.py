"""Focus: the kinds of question that are still answered wrongly are asked more often.

What a model has mastered teaches it little more, and of a hundred kinds it masters some in minutes, others in hours. So
the share of right answers is followed kind by kind while it learns, and a question that has been made is asked with the
probability 1 − that share, but never less than ``LEAST``. Others prefer single examples by their gradient, and weigh
them so that the mean stays (Katharopoulos & Fleuret 2018, https://arxiv.org/abs/1803.00942); here it is to move.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlm_demo.synthetic.phrasings import WAYS

LEAST = 0.2
UNANSWERABLE = 0.4  # the probability for questions without a right answer, which are not followed
PACE = 0.02  # weight of the newest answer of a kind
KINDS = {kind: number for number, kind in enumerate(sorted(WAYS))}
NO_KIND = -1


class Focus(nn.Module):
    """The share of answers of each of KINDS that were right of late, float32 [kinds] in memory that the processes which
    draw pictures share. It is saved with the other modules of a stage, so that a resumed run goes on with it."""

    right: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("right", torch.zeros(len(KINDS)).share_memory_())

    def keep(self, kind: str, answerable: bool) -> float:
        """The probability with which a question of this kind is asked, LEAST..1."""
        return max(LEAST, 1 - float(self.right[KINDS[kind]])) if answerable else UNANSWERABLE

    def learn(self, right: Tensor, kinds: Tensor, lengths: Tensor) -> None:
        """Take down which answer tokens were ``right``, bool [tokens], the answers being of ``kinds`` [n] and of
        ``lengths`` [n] tokens in this order; an answer is right if all its tokens are."""
        for kind, tokens in zip(kinds.tolist(), right.cpu().split(lengths.tolist()), strict=True):
            if kind != NO_KIND:
                self.right[kind] += PACE * (float(tokens.all()) - self.right[kind])

    def shares(self) -> dict[str, float]:
        """The share of right answers by kind."""
        return {kind: round(float(self.right[number]), 3) for kind, number in KINDS.items()}
