"""Data parallel: processes that train the same weights, each on different samples, as ``torchrun`` starts them.

On a processor two processes of one thread each train faster than one of two threads, which wait for each other in
every operation. Each computes the gradients of its batch; every step is taken with their mean, so that all hold the
same weights.
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Peers:
    """The processes of a run; one alone by default.

    Attributes:
        rank: of this process, from 0; the main process (rank 0) logs, measures and writes.
        world_size: how many there are.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def average_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Replace the gradients by their mean over all processes; a weight without one counts as 0."""
        if self.world_size == 1:
            return
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        parts = (flat / self.world_size).split([gradient.numel() for gradient in gradients])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = part.view_as(weight)

    def broadcast(self, value: float) -> float:
        """The main process's value, in all processes."""
        if self.world_size == 1:
            return value
        shared: Tensor = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return float(shared)

    def barrier(self) -> None:
        """Wait until all processes have reached this point."""
        if self.world_size > 1:
            distributed.barrier()


def init_peers() -> Peers:
    """Join the processes that ``torchrun`` started; without it, this process alone."""
    if not distributed.is_torchelastic_launched():
        return Peers()
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
        # Threads that still run when the interpreter ends would abort the process.
        atexit.register(distributed.destroy_process_group)
    return Peers(distributed.get_rank(), distributed.get_world_size())
