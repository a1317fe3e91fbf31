"""Weights: a checkpoint's folder → its model in memory, quantized, as it is stored, or as the processor is fast at.

Knows which error means what; how a model is found and what else belongs to it, ``loading`` knows.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.models import download, quantization, refusals
from vlm_demo.models.adapters.generate_only import Trusted
from vlm_demo.models.catalog import fits
from vlm_demo.models.safetensors_files import check_whole, files_of, tensors_of
from vlm_demo.trust import Trust
from vlm_demo.words import gigabytes

# The messages of torch, safetensors and CUDA; most of their errors are plain RuntimeErrors.
NO_MEMORY = re.compile(r"out of memory|(can't|cannot) allocate memory|\bMemoryError\b", re.IGNORECASE)
TORCH_ATTENTION = (None, "eager", "sdpa")
REPORTS = "transformers.modeling_utils"  # the logger that reports why weights could not be packed
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
        UnsupportedModel: there are no weights that may be opened, or they are damaged, or not all of them are numbers.
        QuantizationUnavailable: see ``quantization``; or they were saved in another precision than ``quantize``.
        VlmDemoError: too little memory.
    """
    safe = any(folder.glob("*.safetensors"))
    saved = refusals.saved_in(folder, shown)
    quantization.check_saved(saved, quantize, shown)
    if safe:
        check_whole(folder, shown)
        _check_room(folder, shown, quantize if saved == "none" else "4bit", device)
    elif not (trust.pickle and any(folder.glob(download.PICKLED))):
        raise UnsupportedModel(_no_weights(shown, folder))
    plain = saved == quantize == "none"
    options: dict[str, Any] = {
        "dtype": dtype or (_dtype(folder, device) if safe and plain else "auto"),
        "use_safetensors": safe,
        "trust_remote_code": adapter is Trusted,
    }
    if not plain:
        options["device_map"] = {"": str(device)}
    if saved == "none" and not plain:
        options["quantization_config"] = quantization.config_for(quantize, adapter.keep_unquantized)
    if not adapter.as_a_whole:
        options["attn_implementation"] = "sdpa"  # of all parts, whatever the config sets
    messages: list[str] = []
    try:
        if adapter.as_a_whole:
            options["config"] = _with_torch_attention(folder, adapter is Trusted)
        with _collecting_reports(messages):
            model, report = adapter.model_class().from_pretrained(folder, output_loading_info=True, **options)
        if report["missing_keys"]:
            # transformers would fill them with random numbers, and the model would silently write nonsense.
            count = len(report["missing_keys"])
            raise UnsupportedModel(f"{count} weights of {shown} are missing: fetch the model again.")
        if plain:
            model = model.to(device)
    except (MemoryError, OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or NO_MEMORY.search(
            " ".join([str(error), *messages])
        ):
            raise VlmDemoError(_too_large(shown, quantize, device)) from error
        raise UnsupportedModel(
            f"The weights of {shown} are damaged or do not fit its config.json: fetch the checkpoint again."
        ) from error
    quantization.check_shapes(model, device, shown if saved != "none" else None)
    quantization.compute_fast(model, device)
    _check_finite(model, shown)
    return model.eval()


def _check_finite(model: torch.nn.Module, shown: str) -> None:
    """Refuse weights of which one is no number: every answer would silently be empty or nonsense.

    Raises:
        UnsupportedModel: names the first tensor that holds such.
    """
    # Buffers that are no part of a checkpoint may hold infinities, as masks do.
    made = {
        f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules()
        for name in module._non_persistent_buffers_set
    }
    tensors = ((name, tensor) for name, tensor in quantization.tensors_of(model) if name not in made)
    broken = [name for name, tensor in tensors if tensor.is_floating_point() and tensor.numel() and not _finite(tensor)]
    broken = list(dict.fromkeys(broken))
    if broken:
        others = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise UnsupportedModel(
            f"Weights of {shown} are NaN or infinite (in {broken[0]}{others}), so that it can't answer: fetch the "
            "checkpoint again, or choose another."
        )


def _finite(tensor: torch.Tensor) -> bool:
    # One pass, which needs no memory; both ends of a tensor with a NaN are NaN.
    least, most = tensor.detach().aminmax()
    return bool(torch.isfinite(least) & torch.isfinite(most))


def _with_torch_attention(folder: Path, remote_code: bool) -> Any:
    """A folder's config, without the attention that it asks for where that is none of torch's own: in place of a
    FlashAttention that isn't installed transformers may fetch a kernel from the hub, and run it."""
    from transformers import AutoConfig, PreTrainedConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=remote_code)
    parts = [config]
    while parts:
        part = parts.pop()
        parts += [value for value in vars(part).values() if isinstance(value, PreTrainedConfig)]
        if part._attn_implementation not in TORCH_ATTENTION:
            part._attn_implementation = None  # transformers chooses
    return config


@contextmanager
def _collecting_reports(messages: list[str]) -> Iterator[None]:
    """Collect what transformers logs of weights that it could not load: the error that it then raises only refers to
    that report."""
    logger, handler = logging.getLogger(REPORTS), logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _check_room(folder: Path, shown: str, quantize: str, device: torch.device) -> None:
    """Refuse what is certain not to fit: where memory runs out, some systems end the program without a message.

    Raises:
        VlmDemoError: not even its weights, all of them as small as ``quantize`` makes any of them, fit.
    """
    room = quantization.room_on(device)
    files = files_of(folder)
    least = sum(_smallest_bytes(file, quantize) for file in files)
    if least > room:
        way_out = quantize if sum(_smallest_bytes(file, "4bit") for file in files) < room else "4bit"
        figures = f" (it takes at least {gigabytes(least)}, {gigabytes(room)} are free)"
        raise VlmDemoError(_too_large(shown, way_out, device, figures))


def _dtype(folder: Path, device: torch.device) -> torch.dtype | str:
    """float32 for a checkpoint in bf16 where that is much faster and fits; or else as it is stored."""
    if quantization.fast_bf16(device):
        return "auto"
    numbers: Counter[str] = Counter()
    for file in files_of(folder):
        for dtype, shape in tensors_of(file):
            numbers[dtype] += math.prod(shape)
    in_bf16 = bool(numbers) and numbers.most_common(1)[0][0] == "BF16"
    return torch.float32 if in_bf16 and fits(4 * numbers.total(), quantization.room_on(device)) else "auto"


def _smallest_bytes(file: Path, quantize: str) -> int:
    """The fewest bytes that the tensors of a safetensors file can take; 0 where it can't be read, which is reported
    later."""
    try:
        return sum(
            math.prod(shape) * min(8 * WIDTHS.get(dtype, 1), BITS[quantize]) // 8 for dtype, shape in tensors_of(file)
        )
    except (ValueError, TypeError, OverflowError):
        return 0


def _no_weights(shown: str, folder: Path) -> str:
    if any(folder.glob(download.PICKLED)):
        return download.only_pickles(shown)
    return f"{shown} has no weights in safetensors files: choose a checkpoint that was saved in this format."


def _too_large(shown: str, quantize: str, device: torch.device, figures: str = "") -> str:
    way_out = "choose a smaller model" if quantize == "4bit" else "load it in 4bit, or choose a smaller model"
    return f"{shown} does not fit into the memory of this machine's {device}{figures}: {way_out}."
