"""Weights: a checkpoint's folder → its model in memory, quantized, as it is stored, or as the processor is fast at.

Knows which error means what; how a model is found and what else belongs to it, ``loading`` knows.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.models import download, quantization
from vlm_demo.models.adapters.generate_only import Trusted
from vlm_demo.models.catalog import fits, gigabytes
from vlm_demo.trust import Trust

# How torch, safetensors and CUDA say it; most of their errors are plain RuntimeErrors.
NO_MEMORY = re.compile(r"out of memory|(can't|cannot) allocate memory|\bMemoryError\b", re.IGNORECASE)
OWN_ATTENTION = (None, "eager", "sdpa")
REPORTS = "transformers.modeling_utils"  # the logger that tells why weights could not be packed
BITS = {"none": 16, "8bit": 8, "4bit": 4}  # of a weight, at most
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of a safetensors number; of all others 1


def load(
    folder: Path,
    shown: str,
    adapter: type[Any],
    quantize: str,
    device: torch.device,
    trust: Trust,
    dtype: torch.dtype | str | None = None,
) -> Any:
    """The model of a folder, in eval mode on ``device``; see ``loading.load`` for the arguments.

    Raises:
        UnsupportedModel: there are no weights that may be opened, or they are damaged.
        QuantizationUnavailable: see ``quantization``.
        VlmDemoError: too little memory.
    """
    safe = any(folder.glob("*.safetensors"))
    if safe:
        _check_room(folder, shown, quantize, device)
    elif not (trust.pickle and any(folder.glob(download.PICKLED))):
        raise UnsupportedModel(_no_weights(shown, folder))
    options: dict[str, Any] = {
        "dtype": dtype or (_dtype(folder, device) if safe and quantize == "none" else "auto"),
        "use_safetensors": safe,
        "trust_remote_code": adapter is Trusted,
    }
    configured = quantization.config_for(quantize, adapter.keep_unquantized)
    if configured is not None:
        options |= {"quantization_config": configured, "device_map": {"": str(device)}}
    if not adapter.as_a_whole:
        options["attn_implementation"] = "sdpa"  # of all parts, whatever the config says
    told: list[str] = []
    try:
        if adapter.as_a_whole:
            options["config"] = _with_own_attention(folder, adapter is Trusted)
        with _listening(told):
            model, report = adapter.model_class().from_pretrained(folder, output_loading_info=True, **options)
        if report["missing_keys"]:
            # transformers would fill them with random numbers, and the model would talk nonsense without a word.
            count = len(report["missing_keys"])
            raise UnsupportedModel(f"{count} weights of {shown} are missing: fetch the model again.")
        if configured is None:
            model = model.to(device)
    except (MemoryError, OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or NO_MEMORY.search(" ".join([str(error), *told])):
            raise VlmDemoError(_too_large(shown, quantize, device)) from error
        raise UnsupportedModel(
            f"The weights of {shown} are damaged or do not fit its config.json: fetch the checkpoint again."
        ) from error
    quantization.check_shapes(model, device)
    return model.eval()


def _with_own_attention(folder: Path, remote_code: bool) -> Any:
    """A folder's config, without the attention that it asks for where that is none of torch's own: in place of a
    FlashAttention that isn't installed transformers may fetch a kernel from the hub, and run it."""
    from transformers import AutoConfig, PreTrainedConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=remote_code)
    parts = [config]
    while parts:
        part = parts.pop()
        parts += [value for value in vars(part).values() if isinstance(value, PreTrainedConfig)]
        if part._attn_implementation not in OWN_ATTENTION:
            part._attn_implementation = None  # transformers chooses
    return config


@contextmanager
def _listening(told: list[str]) -> Iterator[None]:
    """Collect what transformers reports of weights that it could not take: the error that it raises then says only that
    there is such a report."""
    logger, ear = logging.getLogger(REPORTS), logging.Handler(logging.WARNING)
    ear.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    level, propagate = logger.level, logger.propagate
    logger.addHandler(ear)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.setLevel(level)
        logger.propagate = propagate


def _check_room(folder: Path, shown: str, quantize: str, device: torch.device) -> None:
    """Refuse what is certain not to fit: where memory runs out, some systems end the program without a word.

    Raises:
        VlmDemoError: not even its weights, all of them as small as ``quantize`` makes any of them, fit.
    """
    room = quantization.room_on(device)
    files = _files(folder)
    least = sum(_least(file, quantize) for file in files)
    if least > room:
        way_out = quantize if sum(_least(file, "4bit") for file in files) < room else "4bit"
        figures = f" (it takes at least {gigabytes(least)}, {gigabytes(room)} are free)"
        raise VlmDemoError(_too_large(shown, way_out, device, figures))


def _dtype(folder: Path, device: torch.device) -> torch.dtype | str:
    """float32 for a checkpoint in bf16 where that is much faster and fits; or else as it is stored."""
    if quantization.fast_bf16(device):
        return "auto"
    numbers: Counter[str] = Counter()
    for file in _files(folder):
        for dtype, shape in _tensors(file):
            numbers[dtype] += math.prod(shape)
    in_bf16 = bool(numbers) and numbers.most_common(1)[0][0] == "BF16"
    return torch.float32 if in_bf16 and fits(4 * numbers.total(), quantization.room_on(device)) else "auto"


def _files(folder: Path) -> list[Path]:
    """The safetensors files that are loaded: those that an index names, where there is one."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        return [folder / name for name in set(index["weight_map"].values())]
    return [folder / "model.safetensors"]


def _least(file: Path, quantize: str) -> int:
    """The fewest bytes that the tensors of a safetensors file can take; 0 where it can't be read, which is told of
    later."""
    try:
        return sum(
            math.prod(shape) * min(8 * WIDTHS.get(dtype, 1), BITS[quantize]) // 8 for dtype, shape in _tensors(file)
        )
    except (ValueError, TypeError, OverflowError):
        return 0


def _tensors(file: Path) -> list[tuple[str, list[int]]]:
    """Type and shape of each tensor in a safetensors file; none where it can't be read."""
    try:
        with file.open("rb") as opened:
            header: Mapping[str, Any] = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        return [(tensor["dtype"], tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError):
        return []


def _no_weights(shown: str, folder: Path) -> str:
    if any(folder.glob(download.PICKLED)):
        return download.only_pickles(shown)
    return f"{shown} has no weights in safetensors files: choose a checkpoint that was saved in this format."


def _too_large(shown: str, quantize: str, device: torch.device, figures: str = "") -> str:
    way_out = "choose a smaller model" if quantize == "4bit" else "load it in 4bit, or choose a smaller model"
    return f"{shown} does not fit into the memory of this machine's {device}{figures}: {way_out}."
