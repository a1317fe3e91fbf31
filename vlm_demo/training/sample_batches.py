"""Sample batches: numbered samples of a mixture → the batches of each process that trains."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from vlm_demo.training.data_parallel import Peers
from vlm_demo.training.mixture import Mixture, Sample

POOL = 48  # samples for each process, sorted by length before they are cut into batches
TOKENS_A_BATCH = 2200


def batches_of_pool(data: Mixture, seed: int, start: int, peers: Peers) -> Iterator[list[Sample]]:
    """The batches of one process from the samples from number ``start`` on, POOL for each process: sorted by length,
    split, and shuffled.

    Processes wait for each other at every step, so those of one step are about equally large.
    """
    count = POOL * peers.world_size
    batches = evenly_split([data.sample(seed, start + i) for i in range(count)], peers.world_size)
    for i in np.random.default_rng([seed, start, 1]).permutation(len(batches) // peers.world_size):
        yield batches[i * peers.world_size + peers.rank]


def evenly_split(samples: list[Sample], multiple: int) -> list[list[Sample]]:
    """Samples sorted by length and cut into batches of about equally many tokens, TOKENS_A_BATCH or a little less.

    Args:
        multiple: of which the number of batches is one.
    """
    ordered = sorted(samples, key=lambda sample: len(sample.packed))
    lengths = np.array([len(sample.packed) for sample in ordered])
    groups = math.ceil(lengths.sum() / TOKENS_A_BATCH / multiple)
    number = max(1, min(groups, lengths.sum() // lengths.max() // multiple)) * multiple  # no batch stays empty
    which = (lengths.cumsum() - lengths / 2) * number // lengths.sum()
    return [[sample for sample, at in zip(ordered, which, strict=True) if at == i] for i in range(number)]
