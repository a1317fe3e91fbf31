"""Quantization: the language model's weights in 8 or 4 bit by bitsandbytes; encoder and bridge stay as they are.

Also measures memory: what the parameters take as they are stored, and what the process takes.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from vlm_demo.errors import QuantizationUnavailable

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

PRECISIONS = ("none", "8bit", "4bit")
NEEDED = ("bitsandbytes", "accelerate")
# It logs at every multiplication that numbers are cast, which is how it works.
NOISY_LOGGER = "bitsandbytes.autograd._functions"
# bitsandbytes' layers, by the name of their class.
LAYERS = {"Linear8bitLt": "8bit", "Linear4bit": "4bit"}
PACKED_INPUTS, PACKED_OUTPUTS = 64, 32  # what bitsandbytes' 4-bit layers must be multiples of on a CPU
SHORT_NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


def missing() -> str:
    """The packages that quantization needs and that are not installed, in words; empty where all are."""
    return " and ".join(package for package in NEEDED if find_spec(package) is None)


def config_for(quantize: str, keep: Iterable[str]) -> BitsAndBytesConfig | None:
    """The loading configuration for a precision, or None for ``none``.

    Args:
        quantize: ``none``, ``8bit`` or ``4bit`` (NF4, Dettmers et al. 2023, https://arxiv.org/abs/2305.14314).
        keep: full paths of the modules that stay in the checkpoint's dtype.
    Raises:
        QuantizationUnavailable: unknown precision, or a package is missing; says which.
    """
    if quantize not in PRECISIONS:
        raise QuantizationUnavailable(f"There is no precision {quantize!r}: choose one of {', '.join(PRECISIONS)}.")
    if quantize == "none":
        return None
    packages = missing()
    if packages:
        raise QuantizationUnavailable(
            f"{quantize} needs the package {packages}: install with `make demo`, or load unquantized."
        )
    from transformers import BitsAndBytesConfig

    logging.getLogger(NOISY_LOGGER).setLevel(logging.ERROR)
    return BitsAndBytesConfig(
        load_in_8bit=quantize == "8bit",
        load_in_4bit=quantize == "4bit",
        bnb_4bit_quant_type="nf4",
        # In float32, NF4 on a CPU is about a hundred times slower.
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=list(keep),
    )


def fast_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bf16 products. A CPU that has none emulates them, about ten
    times slower than float32."""
    return device.type != "cpu" or any(has for name, has in torch.cpu.get_capabilities().items() if "bf16" in name)


def check_saved(saved: str, wanted: str, shown: str) -> None:
    """See whether a checkpoint that was saved in ``saved`` can be loaded in ``wanted``, both as in ``PRECISIONS``; the
    ``none`` of ``wanted`` is as it is.

    Raises:
        QuantizationUnavailable: it can't, or a package is missing.
    """
    if saved != "none" and wanted not in ("none", saved):
        raise QuantizationUnavailable(
            f"{shown} was saved in {saved} and can't be loaded in {wanted}: load it without quantization, which leaves "
            f"it in {saved}, or choose the checkpoint that it was made from."
        )
    if saved == "none":
        return
    absent = missing()
    if absent:
        raise QuantizationUnavailable(
            f"{shown} was saved in {saved}, which needs the package {absent}: install with `make demo`, or choose the "
            "checkpoint that it was made from."
        )
    logging.getLogger(NOISY_LOGGER).setLevel(logging.ERROR)


def check_shapes(model: torch.nn.Module, device: torch.device, saved: str | None = None) -> None:
    """Refuse layers that bitsandbytes packs into 4 bit and then cannot multiply on a CPU.

    Args:
        saved: the name of a checkpoint whose weights had been packed before; None = they were packed now.
    Raises:
        QuantizationUnavailable: says which shape.
    """
    for module in model.modules():
        if device.type == "cpu" and LAYERS.get(type(module).__name__) == "4bit":
            inputs, outputs = module.in_features, module.out_features
            if inputs % PACKED_INPUTS or outputs % PACKED_OUTPUTS:
                which, way_out = "This model", "load it in 8bit or without quantization"
                if saved:
                    which, way_out = f"{saved}, saved in 4bit,", "choose the checkpoint that it was made from"
                raise QuantizationUnavailable(
                    f"{which} has a layer of {inputs} × {outputs}, which cannot be packed into 4 bit on a CPU: "
                    f"{way_out}."
                )


def compute_fast(model: torch.nn.Module, device: torch.device) -> None:
    """Have 4-bit layers compute in bf16 on a CPU, whatever a checkpoint was saved with: in float32 they are about a
    hundred times slower there."""
    for module in model.modules():
        if device.type == "cpu" and LAYERS.get(type(module).__name__) == "4bit":
            module.compute_dtype = torch.bfloat16


def precision_of(model: torch.nn.Module) -> str:
    """How the weights are stored, in short, read from the layers: ``8bit`` or ``4bit`` where some are packed, or else
    ``bf16``, ``fp16`` or ``fp32``. Where there are several, the one of most weights counts."""
    packed: Counter[str] = Counter()
    for module in model.modules():
        if (precision := LAYERS.get(type(module).__name__)) is not None:
            packed[precision] += module.in_features * module.out_features
    if packed:
        return packed.most_common(1)[0][0]
    weights: Counter[torch.dtype] = Counter()
    for parameter in model.parameters():
        weights[parameter.dtype] += parameter.numel()
    dtype = weights.most_common(1)[0][0]
    return SHORT_NAMES.get(dtype, str(dtype).removeprefix("torch."))


def stored_bytes(*modules: torch.nn.Module) -> int:
    """Bytes of parameters and buffers as they are stored, each storage once."""
    stored: dict[int, int] = {}
    for module in modules:
        for _name, tensor in tensors_of(module):
            storage = tensor.untyped_storage()
            stored[storage.data_ptr()] = storage.nbytes()
    return sum(stored.values())


def process_bytes() -> int:
    """The process's resident memory, measured now."""
    return int(psutil.Process().memory_info().rss)


def in_fewer_bits(model: torch.nn.Module, keep: Iterable[str], device: torch.device) -> dict[str, int]:
    """Precision → bytes that the model's parameters would take in it, counted from its layers; without those in which
    it can't be had here, or is loaded already.

    Args:
        keep: full paths of the modules that stay as they are.
    """
    kept = tuple(keep)
    layers = [
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not any(f"{name}.".startswith(f"{path}.") for path in kept)
    ]
    if missing() or not layers or not all(module.weight.is_floating_point() for module in layers):
        return {}
    rest = stored_bytes(model) - sum(module.weight.nbytes for module in layers)
    sizes = {"8bit": rest + sum(module.weight.numel() + 4 * module.out_features for module in layers)}
    packs = all(not (m.in_features % PACKED_INPUTS or m.out_features % PACKED_OUTPUTS) for m in layers)
    if packs or device.type != "cpu":
        sizes["4bit"] = rest + sum(module.weight.numel() // 2 + module.weight.numel() // 16 for module in layers)
    return sizes


def room_on(device: torch.device) -> int:
    """Bytes that can still be taken, measured now: of the device's own memory, or of what this machine, and the
    container that this process may be in, have left."""
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(psutil.virtual_memory().available, _left_in_container())


def _left_in_container() -> int:
    """By the kernel's control groups, version 2; without bounds where there are none."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        # Files that were read count as used, and are given up as soon as the memory is needed.
        return max(0, limit - used + int(stat["inactive_file"]))
    except (OSError, ValueError, KeyError):
        return sys.maxsize


def release() -> None:
    """Give the memory of models that nobody holds any more back to the system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # glibc's; other systems do it by themselves
        ctypes.CDLL(None).malloc_trim(0)


def tensors_of(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers with their names, and the scales that bitsandbytes attaches to packed ones."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        yield name, tensor
        # A QuantState in 4 bit, SCB in 8 bit.
        for scale in (*_scales(getattr(tensor, "quant_state", None)), *_scales(getattr(tensor, "SCB", None))):
            yield name, scale
    for name, module in model.named_modules():
        for scale in _scales(getattr(getattr(module, "state", None), "SCB", None)):
            yield f"{name}.weight", scale


def _scales(state: Any) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif state is not None:
        for part in ("absmax", "code", "offset", "state2"):
            yield from _scales(getattr(state, part, None))
