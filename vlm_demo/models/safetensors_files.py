"""Safetensors files: the types, shapes and sizes of a checkpoint's tensors, read from the files' headers alone.

A file begins with the length of its header in 8 bytes, then a JSON object with each tensor's type, shape and place:
https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vlm_demo.errors import UnsupportedModel

INDEX = "model.safetensors.index.json"
POINTER = b"version https://git-lfs"  # how a file begins that Git LFS put in the place of a large one
LENGTH = 8  # bytes before the header


def files_of(folder: Path) -> list[Path]:
    """Those that are loaded: the ones that an index names, where there is one."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return [folder / name for name in sorted(set(index["weight_map"].values()))]
    return [folder / "model.safetensors"]


def tensors_of(file: Path) -> list[tuple[str, list[int]]]:
    """Type and shape of each tensor; none where the file can't be read."""
    try:
        return [(tensor["dtype"], tensor["shape"]) for tensor in _header(file)[1].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError):
        return []


def check_whole(folder: Path, shown: str) -> None:
    """See that every file is there with all of its bytes. What is damaged in another way is found by loading it.

    Raises:
        UnsupportedModel: names the file of ``shown``, the checkpoint's name, that is not.
    """
    for file in files_of(folder):
        if not file.is_file():
            if (folder / INDEX).is_file():
                raise UnsupportedModel(
                    f"{shown} lacks {file.name}, one of the files with its weights: fetch the checkpoint again."
                )
            continue
        try:
            with file.open("rb") as opened:
                if opened.read(len(POINTER)) == POINTER:
                    raise UnsupportedModel(
                        f"The {file.name} of {shown} is a Git LFS pointer in the place of the weights: run `git lfs "
                        "pull` in that folder, or fetch the checkpoint again."
                    )
            stored = file.stat().st_size
            begin, header = _header(file)
            whole = begin + max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
        except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, MemoryError, OverflowError):
            continue
        if stored < whole:
            raise UnsupportedModel(
                f"The {file.name} of {shown} is cut off after {stored:,} of its {whole:,} bytes: fetch it again."
            )


def _header(file: Path) -> tuple[int, Mapping[str, Any]]:
    """Where the numbers begin, and each tensor's entry."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(LENGTH), "little")
        header = json.loads(opened.read(length))
    return LENGTH + length, {name: tensor for name, tensor in header.items() if name != "__metadata__"}
