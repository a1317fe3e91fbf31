"""CPU matmul: which of torch's two bf16 matrix products a step takes.

On a CPU torch hands bf16 products to oneDNN, which is made for the many rows of a prompt. For a single token torch's
own kernel reads the weights twice as fast: 20 GB/s against 10 (one thread, AVX-512). Both add in float32
and round once, so that at most the last digit differs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside = 0


def native_bf16_is_faster(module: torch.nn.Module) -> bool:
    """Whether torch's own kernel is the faster one for single tokens: for bf16 on a CPU with AVX-512. Layers in 8 bit
    stay with oneDNN, which has the only fast product of integers."""
    stored = {(parameter.dtype, parameter.device.type) for parameter in module.parameters()}
    return stored == {(torch.bfloat16, "cpu")} and "AVX512" in torch.backends.cpu.get_cpu_capability()


@contextmanager
def native_bf16(wanted: bool) -> Iterator[None]:
    """Multiply by torch's own kernel, if it is wanted.

    The switch is the process's: what another thread multiplies meanwhile takes the same way, slower for many rows.
    """
    global _inside
    if not wanted:
        yield
        return
    with _lock:
        _inside += 1
        torch.backends.mkldnn.set_flags(False, _fp32_precision=None)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                torch.backends.mkldnn.set_flags(True, _fp32_precision=None)
