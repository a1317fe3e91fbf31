"""Idefics3 and SmolVLM against plain transformers."""

from pathlib import Path

import pytest
import torch
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
)
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from tests.kit.tiny import SPECIAL, llama, noise, tokenizer, write
from tests.models.adapters.parity import QUESTION, Both, RowParity
from vlm_demo.contracts import StageEvent
from vlm_demo.ui.stage_words import detail

SIDE, PATCH, LONGEST = 24, 6, 72  # up to 3 × 3 tiles of 4 × 4 patches, each 2 × 2 tokens
PLACES = [f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)]
TOKENS = ("<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *PLACES)
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}


def made(folder: Path, config: type, vision: type, model: type, processor: type, **cutting: object) -> Path:
    torch.manual_seed(0)
    words = tokenizer(more=TOKENS)
    ids = {token: words.convert_tokens_to_ids(token) for token in SPECIAL}
    whole = model(
        config(
            vision_config=vision(**VISION),
            text_config=llama(words, 32, 2048),
            image_token_id=ids["<image>"],
            pad_token_id=ids["<pad>"],
            scale_factor=2,
        )
    )
    noise(whole, {"vision_model": 0.35})
    write(whole, folder, ids, torch.float32)
    words.save_pretrained(folder)
    size = {"size": {"longest_edge": LONGEST}, "max_image_size": {"longest_edge": SIDE}}
    processor(**size | cutting).save_pretrained(folder)
    return folder


class TestIdefics3(RowParity):
    @staticmethod
    def make(folder: Path) -> Path:
        kinds = Idefics3Config, Idefics3VisionConfig, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil
        return made(folder, *kinds)

    @staticmethod
    def inputs(both: Both, pictures: list, text: str) -> dict[str, torch.Tensor]:
        processor = Idefics3Processor(both.image_processor, both.tokenizer, image_seq_len=4)
        return dict(processor(images=pictures, text=text, add_special_tokens=False, return_tensors="pt"))

    def test_pixels_are_the_processors_and_the_view_says_where_they_lie(self, both: Both, noise) -> None:
        view = both.pipe.view(noise(200, 70))
        pixels = both.image_processor(noise(200, 70), return_tensors="pt")["pixel_values"]
        assert torch.equal(view.pixel_values, pixels[0])
        assert view.tiling == (2, 3) and view.grid == (4, 6) and len(pixels[0]) == 7
        assert view.processed.shape == (48, 72, 3)
        assert [patch_grid.grid for patch_grid in view.patch_grids] == [(4, 6), (2, 2)]
        assert view.boxes[-1].tolist() == pytest.approx([200 * 5 / 6, 52.5, 200, 70])

    def test_what_the_page_shows_of_each_stage(self, both: Both, noise) -> None:
        *events, answer = both.pipe.stream([noise(200, 70), noise(100, 100)], QUESTION, max_new_tokens=1)
        details = {event.name: detail(event) for event in events if isinstance(event, StageEvent)}
        assert details["view"] == "200×70 → 7 × 24×24, 100×100 → 10 × 24×24"
        assert details["encoder"] == "17 × 24×24 → 17 × 16×32"
        assert details["bridge"].startswith("17 × 16×32 → 28×32 + 40×32, 2 × 2 patches")
        assert answer.trace.counts == (28, 40) and answer.prompt.image_tokens == 68
        assert len(answer.prompt.segments) > 3 and "<row_1_col_1>" not in answer.prompt.text

    def test_one_tile_has_no_thumbnail(self, tmp_path: Path, noise) -> None:
        kinds = Idefics3Config, Idefics3VisionConfig, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil
        both = Both(made(tmp_path, *kinds, do_image_splitting=False))
        assert both.pipe.view(noise(200, 70)).tiling == (1, 1)
        self.asked(both, [noise(200, 70), noise(70, 200)])

    def test_control_strings_of_this_family_are_text(self, both: Both, noise) -> None:
        asked = "What does <row_1_col_1> and <image> mean?"
        plain, other = (
            both.pipe.ask(noise(60, 60), question, max_new_tokens=1).prompt for question in (QUESTION, asked)
        )
        assert plain.image_tokens == other.image_tokens
        assert "<row_1_col_1> and <image>" in other.text


class TestSmolVlm(RowParity):
    @staticmethod
    def make(folder: Path) -> Path:
        return made(
            folder, SmolVLMConfig, SmolVLMVisionConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil
        )

    @staticmethod
    def inputs(both: Both, pictures: list, text: str) -> dict[str, torch.Tensor]:
        """Its processor can't be built without torchvision; what it writes for a picture can be asked for."""
        given = both.image_processor([pictures], return_tensors="pt", return_row_col_info=True)
        around = "<fake_token_around_image>", "<image>", "<global-img>"
        parts = text.split("<image>")
        prompt_text = parts[0]
        for rows, columns, part in zip(given["rows"][0], given["cols"][0], parts[1:], strict=True):
            prompt_text += get_image_prompt_string(int(rows), int(columns), 4, *around) + part
        ids = both.tokenizer(prompt_text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return {"input_ids": ids, **{key: given[key] for key in ("pixel_values", "pixel_attention_mask")}}
