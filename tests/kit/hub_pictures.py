"""The published settings of the image processors of the hub models in the catalog; the rest are defaults."""

from __future__ import annotations

from typing import Any

Settings = dict[str, Any]


def longest(length: int, tile: int) -> Settings:
    """Idefics3's and SmolVLM's."""
    return {"size": {"longest_edge": length}, "max_image_size": {"longest_edge": tile}, "do_image_splitting": True}


def pixels(least: int, most: int, patch: int) -> Settings:
    """Qwen's."""
    return {"size": {"shortest_edge": least, "longest_edge": most}, "patch_size": patch, "merge_size": 2}


PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
ONEVISION = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]
TILES = {"size": {"height": 448, "width": 448}, "min_patches": 1, "max_patches": 12, "crop_to_patches": True}
QWEN25, QWEN3 = pixels(56 * 56, 12845056, 14), pixels(256 * 256, 4096 * 4096, 16)
CLIP_336 = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}

SETTINGS: dict[str, Settings] = {
    "HuggingFaceTB/SmolVLM-256M-Instruct": longest(2048, 512),
    "HuggingFaceTB/SmolVLM-500M-Instruct": longest(2048, 512),
    "HuggingFaceTB/SmolVLM-Instruct": longest(1536, 384),
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": longest(1536, 384),
    "HuggingFaceM4/Idefics3-8B-Llama3": longest(1456, 364),
    "llava-hf/llava-1.5-7b-hf": CLIP_336,
    "llava-hf/llava-1.5-13b-hf": CLIP_336,
    "llava-hf/llava-v1.6-mistral-7b-hf": {"image_grid_pinpoints": PINPOINTS},
    "llava-hf/llava-v1.6-vicuna-7b-hf": {"image_grid_pinpoints": PINPOINTS},
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": {"image_grid_pinpoints": ONEVISION},
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": {"image_grid_pinpoints": ONEVISION},
    "Qwen/Qwen2.5-VL-3B-Instruct": QWEN25,
    "Qwen/Qwen2.5-VL-7B-Instruct": QWEN25,
    "Qwen/Qwen3-VL-2B-Instruct": QWEN3,
    "Qwen/Qwen3-VL-4B-Instruct": QWEN3,
    "Qwen/Qwen3-VL-8B-Instruct": QWEN3,
    "OpenGVLab/InternVL3-1B-hf": TILES,
    "OpenGVLab/InternVL3-2B-hf": TILES,
    "OpenGVLab/InternVL3-8B-hf": TILES,
    "meta-llama/Llama-3.2-11B-Vision-Instruct": {"size": {"height": 560, "width": 560}, "max_image_tiles": 4},
}
