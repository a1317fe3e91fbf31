"""Data parallel: processes that train the same weights, each on other samples, as ``torchrun`` starts them.

On a processor two processes of one thread each train faster than one of two threads, which wait for each other in
every operation. Each computes the gradients of its batch; every step is taken with their mean, so that all hold the
same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Peers:
    """The processes of a run; one alone by default.

    Attributes:
        rank: which of them this is, from 0; the first one logs, measures and writes.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def average_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Replace the gradients by their mean over all processes; a weight without one counts as 0."""
        if self.count == 1:
            return
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        parts = (flat / self.count).split([gradient.numel() for gradient in gradients])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = part.view_as(weight)

    def agreed(self, value: float) -> float:
        """The first process's value, for all."""
        if self.count == 1:
            return value
        shared: Tensor = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return float(shared)

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            distributed.barrier()


def joined() -> Peers:
    """The processes that ``torchrun`` started, this one among them; else this one alone."""
    if not distributed.is_torchelastic_launched():
        return Peers()
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    return Peers(distributed.get_rank(), distributed.get_world_size())
