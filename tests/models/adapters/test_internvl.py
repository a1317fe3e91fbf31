"""InternVL against plain transformers. Its processor can't be built without torchvision."""

from pathlib import Path

import pytest
import torch
from transformers import (
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
)

from tests.kit.tiny import SPECIAL, TEMPLATE, llama, noise, tokenizer, write
from tests.models.adapters.parity import Both, RowParity


class TestInternVl(RowParity):
    @staticmethod
    def make(folder: Path) -> Path:
        torch.manual_seed(0)
        words = tokenizer(
            more=("<img>", "</img>", "<IMG_CONTEXT>"), template=TEMPLATE.replace("<image>", "<IMG_CONTEXT>")
        )
        vision = InternVLVisionConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=[24, 24],
            patch_size=[6, 6],
            layer_scale_init_value=1.0,
        )
        config = InternVLConfig(
            vision_config=vision,
            text_config=llama(words, 32, 1024),
            image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
            image_seq_length=4,
            tie_word_embeddings=False,
        )
        whole = InternVLForConditionalGeneration(config)
        noise(whole, {"vision_tower": 0.35})
        write(whole, folder, {token: words.convert_tokens_to_ids(token) for token in SPECIAL}, torch.float32)
        words.save_pretrained(folder)
        GotOcr2ImageProcessorPil(size={"height": 24, "width": 24}, max_patches=4).save_pretrained(folder)
        return folder

    @staticmethod
    def inputs(both: Both, pictures: list, text: str) -> dict[str, torch.Tensor]:
        given = both.image_processor(pictures, return_tensors="pt", crop_to_patches=True)
        first, *others = text.split("<IMG_CONTEXT>")
        prompt_text = first
        for tiles, part in zip(given["num_patches"], others, strict=True):
            prompt_text += f"<img>{'<IMG_CONTEXT>' * 4 * int(tiles)}</img>{part}"
        ids = both.tokenizer(prompt_text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return {"input_ids": ids, "pixel_values": given["pixel_values"]}

    def test_tiles_and_a_thumbnail_behind_them(self, both: Both, noise) -> None:
        view = both.pipe.view(noise(200, 70))
        given = both.image_processor(noise(200, 70), return_tensors="pt", crop_to_patches=True)
        assert torch.equal(view.pixel_values, given["pixel_values"]) and len(view.pixel_values) == 4
        assert (view.tiling, view.grid, view.patch_grids[1].grid) == ((1, 3), (2, 6), (2, 2))
        assert view.patch_grids[0].tokens.tolist() == [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]
        assert view.boxes[-1].tolist() == pytest.approx([200 * 5 / 6, 35, 200, 70])
