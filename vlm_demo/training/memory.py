"""Memory: what a training step frees is kept for the next one.

glibc hands blocks as large as activations back to the system at once, and the next step pays for fresh pages, one by
one: on a CPU a sixth of its time or more. See mallopt(3).
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

ARENA_MAX, MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -8, -4, -1, -2  # glibc's malloc.h


def hold() -> None:
    """Keep freed memory in this process; to be called before it has threads. Without glibc nothing changes."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, 2**28)):
            mallopt(option, value)
