"""Qwen2.5-VL and Qwen3-VL against plain transformers. Their processors can't be built without torchvision."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from tests.kit.tiny import SPECIAL, TEMPLATE, llama, noise, tokenizer, write
from tests.models.adapters.parity import Both, RowParity
from vlm_demo.errors import BadImage

PATCH = 4
AROUND = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def parts() -> tuple[object, dict, dict]:
    """Tokenizer, the fields of a small language model, and the token ids of the whole."""
    torch.manual_seed(0)
    words = tokenizer(more=AROUND, template=TEMPLATE.replace("<image>", "".join((AROUND[0], AROUND[2], AROUND[1]))))
    text = llama(words, 32, 2048).to_dict()
    fields = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    text = {key: text[key] for key in (*fields, "num_key_value_heads", "max_position_embeddings")}
    start, end, image, video = (words.convert_tokens_to_ids(token) for token in AROUND)
    ids = {"vision_start_token_id": start, "vision_end_token_id": end, "image_token_id": image, "video_token_id": video}
    return words, text, ids


def written(model: PreTrainedModel, words: object, folder: Path) -> Path:
    noise(model, {"visual": 0.35})
    write(model, folder, {token: words.convert_tokens_to_ids(token) for token in SPECIAL}, torch.float32)
    words.save_pretrained(folder)
    size = {"shortest_edge": 16 * 16, "longest_edge": 40 * 40}
    Qwen2VLImageProcessorPil(patch_size=PATCH, merge_size=2, size=size).save_pretrained(folder)
    return folder


class Qwen(RowParity):
    @staticmethod
    def inputs(both: Both, pictures: list, text: str) -> dict[str, torch.Tensor]:
        given = both.image_processor(pictures, return_tensors="pt")
        first, *others = text.split("<|image_pad|>")
        prompt_text = first
        for grid, part in zip(given["image_grid_thw"], others, strict=True):
            prompt_text += "<|image_pad|>" * (int(grid.prod()) // 4) + part
        ids = both.tokenizer(prompt_text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        seen = (ids == both.plain.config.image_token_id).int()
        return {"input_ids": ids, "mm_token_type_ids": seen, **given}

    def test_pixels_are_the_processors(self, both: Both, noise) -> None:
        view = both.pipe.view(noise(200, 70))
        given = both.image_processor(noise(200, 70), return_tensors="pt")
        patches, grids = both.pipe.stages().family._patches(view.pixel_values)
        assert torch.equal(patches, given["pixel_values"]) and torch.equal(grids, given["image_grid_thw"])
        assert view.pixel_values.shape == (1, 3, *(4 * int(side) for side in grids[0, 1:]))
        assert view.grid == (int(grids[0, 1]) // 2, int(grids[0, 2]) // 2)
        assert view.boxes[-1].tolist()[2:] == [200, 70]
        resized = noise(200, 70).resize(view.processed.shape[1::-1], Image.Resampling.BICUBIC)
        assert np.abs(view.processed.astype(int) - np.asarray(resized).astype(int)).max() <= 1

    def test_a_thread_of_pixels_is_refused(self, both: Both) -> None:
        with pytest.raises(BadImage, match="elongated"):
            both.pipe.view(Image.new("RGB", (1000, 4)))


class TestQwen25Vl(Qwen):
    @staticmethod
    def make(folder: Path) -> Path:
        words, text, ids = parts()
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": PATCH,
            "window_size": 16,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        }
        rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
        config = Qwen2_5_VLConfig(vision_config=vision, text_config=text | {"rope_parameters": rope}, **ids)
        return written(Qwen2_5_VLForConditionalGeneration(config), words, folder)


class TestQwen3Vl(Qwen):
    @staticmethod
    def make(folder: Path) -> Path:
        words, text, ids = parts()
        vision = {
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": PATCH,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        }
        rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
        text |= {"rope_parameters": rope, "head_dim": 8}
        config = Qwen3VLConfig(vision_config=vision, text_config=text, **ids)
        return written(Qwen3VLForConditionalGeneration(config), words, folder)
