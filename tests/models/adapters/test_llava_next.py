"""LLaVA-NeXT and LLaVA-OneVision against plain transformers."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionProcessor,
    PreTrainedModel,
    SiglipVisionConfig,
)

from tests.kit.tiny import SPECIAL, llama, noise, tokenizer, write
from tests.models.adapters.parity import Both, RowParity
from vlm_demo.errors import BadImage

SIDE, PATCH = 24, 6
PINPOINTS = [[24, 48], [48, 24], [48, 48], [72, 24], [24, 72]]
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}


def written(model: PreTrainedModel, words: object, folder: Path) -> None:
    noise(model, {"vision_tower": 0.35, "newline": 0.3})
    write(model, folder, {token: words.convert_tokens_to_ids(token) for token in SPECIAL}, torch.float32)
    words.save_pretrained(folder)


class TestLlavaNext(RowParity):
    @staticmethod
    def make(folder: Path) -> Path:
        torch.manual_seed(0)
        words = tokenizer()
        config = LlavaNextConfig(
            vision_config=CLIPVisionConfig(**VISION),
            text_config=llama(words, 32, 2048),
            image_token_id=words.convert_tokens_to_ids("<image>"),
            image_grid_pinpoints=PINPOINTS,
        )
        written(LlavaNextForConditionalGeneration(config), words, folder)
        size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
        LlavaNextImageProcessorPil(**size, image_grid_pinpoints=PINPOINTS).save_pretrained(folder)
        return folder

    @staticmethod
    def inputs(both: Both, pictures: list, text: str) -> dict[str, torch.Tensor]:
        processor = LlavaNextProcessor(
            both.image_processor,
            both.tokenizer,
            patch_size=PATCH,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        )
        return dict(processor(images=pictures, text=text, add_special_tokens=False, return_tensors="pt"))

    def test_padding_is_cut_off(self, both: Both, noise) -> None:
        """200 × 70 is fitted into 72 × 24 pixels: 72 × 26 would be too high, so 69 × 24 and a patch of padding."""
        view = both.pipe.view(noise(200, 100))
        pixels = both.image_processor(noise(200, 100), return_tensors="pt")["pixel_values"]
        assert torch.equal(view.pixel_values, pixels[0])
        assert view.tiling == (1, 2) and view.grid == (4, 8)
        assert view.boxes[-1].tolist() == pytest.approx([175, 75, 200, 100])
        square = both.pipe.view(noise(100, 100))
        assert (square.tiling, square.grid) == ((2, 2), (8, 8))
        high = both.pipe.view(noise(60, 110))  # fitted into 24 × 48 or 48 × 48
        assert high.grid[0] > high.grid[1] and high.processed.shape[:2] == (high.grid[0] * 6, high.grid[1] * 6)
        assert abs(high.boxes[0][0]) < 10 and abs(high.boxes[-1][2] - 60) < 10

    @pytest.mark.parametrize("size", [(300, 2), (2, 300), (900, 1), (1, 900)])
    def test_a_thread_is_refused(self, both: Both, noise, size: tuple[int, int]) -> None:
        with pytest.raises(BadImage, match="too elongated"):
            both.pipe.ask(noise(*size), "What is it?")

    @pytest.mark.parametrize("size", [(90, 300), (300, 90), (25, 300), (12, 300), (300, 12), (1280, 20_000)])
    def test_narrow_pictures_have_heatmaps(self, both: Both, noise, size: tuple[int, int]) -> None:
        answer = both.pipe.explain(noise(*size), "What is it?", "red")
        assert both.pipe.heatmap(answer, "red").shape == size[::-1]

    @pytest.mark.parametrize("size", [(12, 300), (300, 12)])
    def test_narrower_than_a_patch_the_whole_made_small_stands_alone(
        self, both: Both, noise, size: tuple[int, int]
    ) -> None:
        view = both.pipe.view(noise(*size))
        assert view.grid == (4, 4)
        assert view.boxes[-1].tolist() == pytest.approx([size[0] * 3 / 4, size[1] * 3 / 4, *size])
        given = self.inputs(both, [noise(*size)], "<image>")
        assert torch.equal(view.pixel_values, given["pixel_values"][0])
        with torch.no_grad():
            packed = both.plain.get_image_features(given["pixel_values"], given["image_sizes"]).pooler_output
        answer = both.pipe.explain(noise(*size), "What is it?", "red")
        assert answer.prompt.image_tokens == len(packed[0])

    def test_one_that_was_made_smaller_first_has_as_many_tokens(
        self, both: Both, noise, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vlm_demo.stages.view.GIVEN_PIXELS", 10_000)
        monkeypatch.setattr("vlm_demo.stages.view.AIMED_PIXELS", 5_000)
        for size in ((203, 97), (97, 203), (301, 100)):
            answer = both.pipe.explain(noise(*size), "What is it?", "red")
            assert answer.views[0].size == size
            assert both.pipe.heatmap(answer, "red").shape == size[::-1]


class TestLlavaOnevision(RowParity):
    pinpoints = [[24 * high, 24 * wide] for high in range(1, 4) for wide in range(1, 4)]

    @classmethod
    def make(cls, folder: Path) -> Path:
        torch.manual_seed(0)
        words = tokenizer()
        config = LlavaOnevisionConfig(
            vision_config=SiglipVisionConfig(**VISION, vision_use_head=False),
            text_config=llama(words, 32, 2048),
            image_token_id=words.convert_tokens_to_ids("<image>"),
            image_grid_pinpoints=cls.pinpoints,
            vision_aspect_ratio="anyres_max_3",
        )
        written(LlavaOnevisionForConditionalGeneration(config), words, folder)
        size = {"size": {"height": SIDE, "width": SIDE}}
        LlavaOnevisionImageProcessorPil(**size, image_grid_pinpoints=cls.pinpoints).save_pretrained(folder)
        return folder

    @classmethod
    def inputs(cls, both: Both, pictures: list, text: str) -> dict[str, torch.Tensor]:
        """Its processor can't be built without torchvision; how many tokens a picture has can be asked of the class."""
        given = both.image_processor(pictures, return_tensors="pt")
        counting = SimpleNamespace(
            image_processor=both.image_processor,
            patch_size=PATCH,
            num_image_tokens=(SIDE // PATCH) ** 2,
            vision_aspect_ratio="anyres_max_3",
        )
        counting._get_unpadded_features = LlavaOnevisionProcessor._get_unpadded_features.__get__(counting)
        parts = text.split("<image>")
        prompt_text = parts[0]
        for picture, part in zip(pictures, parts[1:], strict=True):
            count = LlavaOnevisionProcessor._get_number_of_features(counting, *picture.size[::-1], SIDE, SIDE)
            prompt_text += "<image>" * count + part
        ids = both.tokenizer(prompt_text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return {"input_ids": ids, **{key: given[key] for key in ("pixel_values", "image_sizes")}}

    def test_a_large_mosaic_is_pooled(self, both: Both, noise) -> None:
        """3 × 3 tiles have 144 patches, but three tiles' worth of tokens is the most: 12 / sqrt(3) = 6.9 a side."""
        view = both.pipe.view(noise(100, 100))
        assert (view.tiling, view.grid) == ((3, 3), (6, 6))
        assert view.boxes[0].tolist() == pytest.approx([0, 0, 100 / 6, 100 / 6], abs=1e-3)
        assert view.processed.shape == (72, 72, 3)

    @pytest.mark.parametrize("size", [(12, 300), (300, 12), (90, 300)])
    def test_narrow_pictures_have_heatmaps(self, both: Both, noise, size: tuple[int, int]) -> None:
        answer = both.pipe.explain(noise(*size), "What is it?", "red")
        assert both.pipe.heatmap(answer, "red").shape == size[::-1]
        with pytest.raises(BadImage, match="too elongated"):
            both.pipe.view(noise(max(size) * 2, 1))
