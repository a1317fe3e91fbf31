"""Refusals: checkpoints that can't be run here and are recognised by their files, each with a specific sentence.

Reads the small JSON files next to the weights and nothing else, so that a model of the hub is refused before its
weights are fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlm_demo.errors import UnsupportedModel

ADAPTER = "adapter_config.json"
# Names of ways to pack weights, as people write them; others are named as config.json does.
METHODS = {"awq": "AWQ", "gptq": "GPTQ", "aqlm": "AQLM", "hqq": "HQQ", "eetq": "EETQ", "fp8": "FP8", "mxfp4": "MXFP4"}
# Older tools wrote their quantization settings into a separate file.
METHOD_FILES = {"quantize_config.json": "gptq", "quant_config.json": "awq"}
OURS = "bitsandbytes"
ORIGINAL_LLAVA = re.compile(r"Llava\w*ForCausalLM")
ORIGINAL_LLAVA_TYPES = ("llava_llama", "llava_mistral", "llava_mixtral", "llava_mpt", "llava_qwen", "llava_gemma")
LONGEST_NAME = 100  # characters that are quoted of a name in somebody's file


def check(folder: Path, shown: str, remote_code: bool) -> None:
    """Check the small files next to the weights.

    Args:
        shown: the checkpoint's name in the sentences.
        remote_code: whether code that comes with the checkpoint may run, which may read other formats.
    Raises:
        UnsupportedModel: it can't be run here; says why and what to do.
    """
    _refuse_kernels(folder, shown)
    config = _read(folder / "config.json")
    if not (remote_code and config.get("auto_map")):
        _refuse_original_llava(config, shown)
    saved_in(folder, shown)
    weights = [file for file in folder.glob("*.safetensors") if not file.name.startswith("adapter_")]
    if not weights and not any(folder.glob("pytorch_model*.bin")):
        refuse_adapter(folder, shown)


def refuse_adapter(folder: Path, shown: str) -> None:
    """Refuse a folder that holds the difference of a fine-tuned model to another one.

    Raises:
        UnsupportedModel: it does.
    """
    if not (folder / ADAPTER).is_file():
        return
    config = _read(folder / ADAPTER)
    kind = {"LORA": "LoRA"}.get(str(config.get("peft_type")), "PEFT")
    base = _quoted(config.get("base_model_name_or_path")) or "a model that it does not name"
    raise UnsupportedModel(
        f"{shown} is a {kind} adapter for {base} and no model by itself: merge it into that model with peft "
        "(merge_and_unload), save what comes of it, and name that folder."
    )


def saved_in(folder: Path, shown: str) -> str:
    """The precision in which bitsandbytes packed a checkpoint's weights before they were saved: ``8bit`` or ``4bit``;
    ``none`` where they are stored as plain numbers.

    Raises:
        UnsupportedModel: they were packed in another way.
    """
    config = _read(folder / "config.json")
    packing = next(_packings(config), None)
    if packing is None:
        file = next((file for file in METHOD_FILES if (folder / file).is_file()), None)
        packing = {**_read(folder / file), "quant_method": METHOD_FILES[file]} if file else {}
    if packing.get("load_in_4bit"):
        return "4bit"
    if packing.get("load_in_8bit"):
        return "8bit"
    method = _quoted(packing.get("quant_method"))
    if method and method != OURS:
        bits = next((packing[key] for key in ("bits", "w_bit") if type(packing.get(key)) is int), None)
        into = f" into {bits} bit" if bits else ""
        raise UnsupportedModel(
            f"The weights of {shown} were packed{into} by {METHODS.get(method, method)}, which can't be read here: "
            "choose the checkpoint that they were made from, and load that in 4bit."
        )
    return "none"


def _refuse_original_llava(config: Mapping[str, Any], shown: str) -> None:
    """LLaVA's first repositories are written for their authors' code, with other names for the weights."""
    kind = _quoted(config.get("model_type"))
    architectures = config.get("architectures")
    named = architectures if isinstance(architectures, list) else []
    if kind in ORIGINAL_LLAVA_TYPES or any(ORIGINAL_LLAVA.fullmatch(str(name)) for name in named):
        raise UnsupportedModel(
            f"{shown} is written for LLaVA's original code ({kind}), which transformers can't read: choose a converted "
            "checkpoint, such as llava-hf/llava-1.5-7b-hf."
        )


def _refuse_kernels(folder: Path, shown: str) -> None:
    """Refuse a config that names a repository of the hub as its attention, such as ``kernels-community/flash-attn2``:
    transformers would fetch its code and run it (CVE-2026-4372). Older and newer releases of transformers are given
    separate configs, next to config.json.

    Raises:
        UnsupportedModel: it does.
    """
    for file in folder.glob("config*.json"):
        try:
            kernel = next((name for name in _attentions(_read(file)) if "/" in name), None)
        except RecursionError:  # damaged, which is reported when it is loaded
            continue
        if kernel:
            raise UnsupportedModel(
                f"The {file.name} of {shown} asks for attention code from elsewhere ({kernel[:LONGEST_NAME]!r}), which "
                "is never run here: choose another model, or take that line out."
            )


def _attentions(config: Any, under: bool = False) -> Iterator[str]:
    """The names of attention implementations anywhere in a config, those of single parts too."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _attentions(value, under or "attn_implementation" in key)
    elif isinstance(config, list):
        for value in config:
            yield from _attentions(value, under)
    elif under and isinstance(config, str):
        yield config


def _packings(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """How weights were packed: of the whole, or of single parts."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in ("quantization_config", "compression_config"):
            if isinstance(part.get(key), dict):
                yield part[key]


def _read(file: Path) -> dict[str, Any]:
    """A JSON file's object; empty where it is missing or damaged, which is reported when it is loaded."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _quoted(name: Any) -> str:
    """A name out of somebody's file, on one line; empty where it is none."""
    return " ".join(name.split())[:LONGEST_NAME] if isinstance(name, str) else ""
