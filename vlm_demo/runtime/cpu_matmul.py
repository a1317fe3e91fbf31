"""CPU matmul: which of torch's two bf16 matrix products a step takes.

On a CPU torch hands bf16 products to oneDNN, which is made for the many rows of a prompt. For a single token torch's
own kernel reads the weights twice as fast: 20 GB/s against 10 (one thread, AVX-512). Both add in float32
and round once, so that at most the last digit differs.

oneDNN brings a layer's weights into an order of its own at every product. Where memory allows they are kept in it as
well, which halves the time of eight rows; what comes out is the same to the last bit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import linear

_packed_is_used = True
_lock = threading.Lock()
_inside = 0


def native_bf16_is_faster(module: torch.nn.Module) -> bool:
    """Whether torch's own kernel is the faster one for single tokens: for bf16 on a CPU with AVX-512. Layers in 8 bit
    stay with oneDNN, which has the only fast product of integers."""
    stored = {(parameter.dtype, parameter.device.type) for parameter in module.parameters()}
    return stored == {(torch.bfloat16, "cpu")} and "AVX512" in torch.backends.cpu.get_cpu_capability()


def pack(*modules: torch.nn.Module, most: int) -> None:
    """Keep the weights of linear layers in oneDNN's order too, if they take no more than ``most`` bytes; several
    rows are multiplied with these, where no gradient is wanted. Of layers for which ``native_bf16_is_faster``."""
    found = [layer for module in modules for layer in module.modules() if type(layer) is torch.nn.Linear]
    layers = [layer for layer in dict.fromkeys(found) if native_bf16_is_faster(layer) and "forward" not in vars(layer)]
    if torch.backends.mkldnn.is_available() and sum(layer.weight.nbytes for layer in layers) <= most:
        for layer in layers:
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
            layer.forward = partial(_multiplied, layer, packed, _state(layer.weight))


def _multiplied(layer: torch.nn.Linear, packed: Tensor, state: tuple[int, int], rows: Tensor) -> Tensor:
    """As the layer's own product of rows [..., inputs]; with the copy only while the weights are what was copied."""
    usual = rows.numel() == rows.shape[-1] or torch.is_grad_enabled() or not _packed_is_used
    if usual or _state(layer.weight) != state:
        return linear(rows, layer.weight, layer.bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, layer.bias, "none", [], "")
    return product


@contextmanager
def as_stored() -> Iterator[None]:
    """Multiply in all threads as without ``pack``, for a comparison with what plain transformers does."""
    global _packed_is_used
    _packed_is_used = False
    try:
        yield
    finally:
        _packed_is_used = True


def _state(weight: Tensor) -> tuple[int, int]:
    return weight.data_ptr(), weight._version


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
