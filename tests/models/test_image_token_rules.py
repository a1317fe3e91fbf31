"""How many tokens a picture becomes, and what of them is cached: against transformers' own image processors and configs
at the published settings."""

from __future__ import annotations

import json
from importlib import import_module
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.kit.hub_pictures import SETTINGS
from tests.kit.hub_shapes import SHAPES
from vlm_demo.errors import BadImage
from vlm_demo.models.adapters import ADAPTERS, of_family
from vlm_demo.models.adapters.llava_next import LONGEST_RATIO
from vlm_demo.models.catalog import WIDTHS, Entry, listed
from vlm_demo.models.image_token_rules import Fixed, Native, TilesOnCanvas
from vlm_demo.models.loading import checkpoint
from vlm_demo.models.patch_geometry import geometry

LENGTHS = (1, 2, 7, 27, 28, 31, 32, 33, 64, 100, 223, 336, 383, 384, 400, 447, 512, 560, 640, 673, 896, 1000, 1080,
           1120, 1344, 1920, 2047, 2048, 2049, 3024, 4032, 5000, 9001)  # fmt: skip
SIZES = list(product(LENGTHS, LENGTHS))
RUN = [(640, 480), (480, 640), (336, 336), (64, 64), (2000, 30), (30, 2000), (1920, 1080), (1000, 7), (2, 2048)]

WRITERS = [entry for entry in listed() if of_family(entry.family).writes]
ON_HUB = [entry for entry in WRITERS if entry.on_hub]
EMBEDDED = [entry for entry in WRITERS if not entry.on_hub]
CLASSES = {module: name for _, (module, name) in reversed(ADAPTERS.items())}


def of(*families: str) -> list[Entry]:
    found = [entry for entry in ON_HUB if entry.family in families]
    assert found
    return found


def config_of(entry: Entry) -> Any:
    adapter = getattr(import_module(f"vlm_demo.models.adapters.{entry.family}"), CLASSES[entry.family])
    return adapter.model_class().config_class(**SHAPES[entry.id])


def cached(text: Any, layers: int, entry: Entry) -> int:
    """Bytes of one token's keys and values."""
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    return layers * (getattr(text, "num_key_value_heads", None) or heads) * size * 2 * WIDTHS[entry.stored]


def counted(entry: Entry, width: int, height: int) -> int | None:
    assert entry.image_tokens is not None
    return entry.image_tokens.count(width, height)


def by_id(entries: list[Entry]) -> Any:
    return pytest.mark.parametrize("entry", entries, ids=lambda entry: entry.id)


@by_id(listed())
def test_all_that_write_and_they_alone_have_a_rule(entry: Entry) -> None:
    assert (entry.image_tokens is not None) == (entry.context > 0) == (entry in WRITERS)


@by_id(ON_HUB)
def test_context_and_cache_are_those_of_the_published_sizes(entry: Entry) -> None:
    text = config_of(entry).get_text_config()
    crossing = getattr(text, "cross_attention_layers", None)
    layers = len(crossing) if crossing else text.num_hidden_layers
    assert entry.context == text.max_position_embeddings
    assert entry.kv_bytes_per_token == cached(text, layers, entry)
    assert (entry.in_context == 1) == bool(crossing)


@by_id(EMBEDDED)
def test_embedded_ones_are_as_their_files_say(entry: Entry) -> None:
    """Idefics' layers project a picture's features again at each step, and cache nothing of it."""
    from transformers import AutoConfig, LlavaImageProcessor

    config = AutoConfig.from_pretrained(checkpoint(entry.id))
    text = config.get_text_config()
    cross_attention = entry.family == "idefics"
    assert entry.context == text.max_position_embeddings
    assert entry.kv_bytes_per_token == (0 if cross_attention else cached(text, text.num_hidden_layers, entry))
    assert entry.in_context == (1 if cross_attention else None)
    tokens = {
        "llava": lambda: config.image_seq_length,
        "blip2": lambda: config.num_query_tokens,
        "idefics": lambda: (config.vision_config.image_size // config.vision_config.patch_size) ** 2,
    }[entry.family]()
    assert {counted(entry, *size) for size in RUN[:4]} == {tokens}

    folder = checkpoint(entry.id)
    file = next(
        file for name in ("processor_config", "preprocessor_config") if (file := folder / f"{name}.json").exists()
    )
    settings = json.loads(file.read_text())
    refuses_beyond(entry, LlavaImageProcessor(**settings.get("image_processor", settings)))


def refuses_beyond(entry: Entry, processor: Any) -> None:
    """The rule gives None where the picture is refused."""
    rule = entry.image_tokens
    assert isinstance(rule, Fixed) and rule.longest_ratio is not None
    edge = int(rule.longest_ratio)
    for ratio, taken in ((edge, True), (edge + 1, False)):
        for size in ((ratio * 10, 10), (10, ratio * 10)):
            assert (rule.count(*size) is not None) == taken
            if taken:
                geometry(processor, size)
            else:
                with pytest.raises(BadImage):
                    geometry(processor, size)


@by_id(of("llava", "gemma3", "paligemma", "blip2", "instructblip"))
def test_those_of_one_size_have_as_many_as_their_config_says(entry: Entry) -> None:
    """LLaVA-1.5 leaves out the CLS token; LLaVA-Interleave's SigLIP has none."""
    config = config_of(entry)
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    tokens = {
        "llava": patches,
        "gemma3": getattr(config, "mm_tokens_per_image", 0),
        "paligemma": patches,
    }.get(entry.family, getattr(config, "num_query_tokens", 0))
    assert tokens > 0 and {counted(entry, *size) for size in RUN[:4]} == {tokens}


@by_id([entry for entry in ON_HUB if entry.id in SETTINGS and entry.family == "llava"])
def test_llava_refuses_what_its_processor_would_make_too_large(entry: Entry) -> None:
    from transformers import CLIPImageProcessor

    refuses_beyond(entry, CLIPImageProcessor(**SETTINGS[entry.id]))


@by_id(of("idefics3", "smolvlm"))
def test_tiles_of_length_are_what_the_image_processor_makes(entry: Entry, monkeypatch) -> None:
    from transformers.image_utils import SizeDict
    from transformers.models.idefics3.image_processing_pil_idefics3 import (
        Idefics3ImageProcessorPil,
        get_resize_output_image_size,
    )
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    made = {"idefics3": Idefics3ImageProcessorPil, "smolvlm": SmolVLMImageProcessorPil}[entry.family]
    processor, config = made(**SETTINGS[entry.id]), config_of(entry)
    tokens = (config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor) ** 2
    for size in RUN:
        tiles = processor(images=Image.new("RGB", size), return_tensors="np")["pixel_values"].shape[1]
        assert counted(entry, *size) == tiles * tokens, size

    def resized(image: np.ndarray, size: Any, **_: Any) -> np.ndarray:
        """Of the size that it would have, with no pixels in memory."""
        return np.broadcast_to(image[:, :1, :1], (3, size.height, size.width))

    monkeypatch.setattr(processor, "resize", resized)
    length, tile = (SETTINGS[entry.id][name]["longest_edge"] for name in ("size", "max_image_size"))
    for width, height in SIZES:
        image = np.broadcast_to(np.zeros((3, 1, 1)), (3, height, width))
        tall, wide = get_resize_output_image_size(image, length)
        image = processor.resize_for_vision_encoder(resized(image, SizeDict(height=tall, width=wide)), tile)
        frames, _, _ = processor.split_images(image, {"longest_edge": tile})
        assert counted(entry, width, height) == len(frames) * tokens, (width, height)


@by_id(of("qwen2_5_vl", "qwen3_vl"))
def test_native_sizes_are_what_the_image_processor_makes(entry: Entry) -> None:
    from transformers import Qwen2VLImageProcessor

    processor = Qwen2VLImageProcessor(**SETTINGS[entry.id])
    rule, vision = entry.image_tokens, config_of(entry).vision_config
    assert isinstance(rule, Native) and (rule.patch, rule.merge) == (vision.patch_size, vision.spatial_merge_size)
    refused = 0
    for width, height in SIZES:
        try:
            expected = processor.get_number_of_image_patches(height, width) // rule.merge**2
        except ValueError:
            expected, refused = None, refused + 1
        assert rule.count(width, height) == expected, (width, height)
    assert 0 < refused < len(SIZES) // 2


@by_id(of("internvl"))
def test_tiles_of_shape_are_what_the_image_processor_makes(entry: Entry) -> None:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    processor, config = GotOcr2ImageProcessorPil(**SETTINGS[entry.id]), config_of(entry)
    side = int(config.vision_config.image_size[0] // config.vision_config.patch_size[0] * config.downsample_ratio)
    for width, height in SIZES:
        tiles = processor.get_number_of_image_patches(height, width)
        assert counted(entry, width, height) == tiles * side**2, (width, height)


@by_id(of("llava_next", "llava_onevision"))
def test_canvases_are_what_the_processor_counts(entry: Entry) -> None:
    from transformers import LlavaNextProcessor, LlavaOnevisionProcessor

    config, rule = config_of(entry), entry.image_tokens
    assert isinstance(rule, TilesOnCanvas)
    onevision = entry.family == "llava_onevision"
    made = LlavaOnevisionProcessor if onevision else LlavaNextProcessor
    processor = made.__new__(made)  # it wants a tokenizer, which counting does not
    vision = config.vision_config
    side = vision.image_size
    processor.image_processor = SimpleNamespace(**SETTINGS[entry.id])
    processor.patch_size, processor.num_additional_image_tokens = vision.patch_size, 0
    processor.num_image_tokens = (side // vision.patch_size) ** 2
    processor.vision_aspect_ratio = getattr(config, "vision_aspect_ratio", "")
    assert rule.longest_ratio == (None if onevision else LONGEST_RATIO)
    for width, height in SIZES:
        if rule.longest_ratio and max(width, height) > rule.longest_ratio * min(width, height):
            assert rule.count(width, height) is None
        else:
            expected = processor._get_number_of_features(height, width, side, side)
            assert rule.count(width, height) == expected, (width, height)


@by_id(of("mllama"))
def test_tiles_in_canvas_are_what_the_image_processor_makes(entry: Entry) -> None:
    from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil, get_optimal_tiled_canvas

    config, settings = config_of(entry), SETTINGS[entry.id]
    vision, most = config.vision_config, settings["max_image_tiles"]
    side = vision.image_size
    tokens = (side // vision.patch_size) ** 2 + 1
    assert most == vision.max_num_tiles
    for width, height in SIZES:
        tall, wide = get_optimal_tiled_canvas(height, width, most, side)
        assert counted(entry, width, height) == int(tall) * int(wide) // side**2 * tokens, (width, height)
    processor = MllamaImageProcessorPil(**settings)
    for size in RUN:
        tiles = processor(images=Image.new("RGB", size), return_tensors="np")["num_tiles"][0][0]
        assert counted(entry, *size) == int(tiles) * tokens, size
