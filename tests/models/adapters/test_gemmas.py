"""PaliGemma and Gemma 3 against plain transformers: prefixes, pictures that see themselves, and a sliding window."""

from pathlib import Path

import pytest
import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    Gemma3TextConfig,
    GemmaConfig,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
)

from tests.kit.tiny import SPECIAL, TEMPLATE, noise, tokenizer, write
from tests.models.adapters.parity import QUESTION, Both, RowParity
from vlm_demo import Turn

SIDE = 24
VISION = SiglipVisionConfig(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=SIDE,
    patch_size=4,
    projection_dim=32,
    vision_use_head=False,
)
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 1024,
}


def written(model: PreTrainedModel, words: PreTrainedTokenizerFast, folder: Path) -> None:
    noise(model, {"vision_tower": 0.35})
    write(model, folder, {token: words.convert_tokens_to_ids(token) for token in SPECIAL}, torch.float32)
    words.save_pretrained(folder)


class TestPaliGemma(RowParity):
    """Its checkpoints carry no chat template."""

    text_config: object = staticmethod(lambda words: GemmaConfig(vocab_size=len(words), **TEXT))

    @classmethod
    def make(cls, folder: Path) -> Path:
        torch.manual_seed(0)
        words = tokenizer()
        words.chat_template = None
        config = PaliGemmaConfig(
            vision_config=VISION,
            text_config=cls.text_config(words),
            image_token_index=words.convert_tokens_to_ids("<image>"),
            projection_dim=32,
            hidden_size=32,
        )
        written(PaliGemmaForConditionalGeneration(config), words, folder)
        SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_seq_length=36).save_pretrained(folder)
        return folder

    def text_of(self, both: Both, images: int, history: tuple[Turn, ...] = ()) -> str:
        """What its processor is given: the pictures, and lines of text."""
        images += sum(len(turn.images) for turn in history)
        return "<image>" * images + "".join(f"{turn.question}\n{turn.answer}\n" for turn in history) + QUESTION

    @staticmethod
    def inputs(both: Both, pictures: list, text: str) -> dict[str, torch.Tensor]:
        made = PaliGemmaProcessor(both.image_processor, both.tokenizer)
        given = made(images=[pictures], text=[text], return_tensors="pt", add_special_tokens=False)
        return {key: given[key] for key in ("input_ids", "pixel_values", "token_type_ids")}


class TestGemma3(RowParity):
    @staticmethod
    def make(folder: Path) -> Path:
        torch.manual_seed(0)
        words = tokenizer(
            more=("<start_of_image>", "<end_of_image>"), template=TEMPLATE.replace("<image>", "<start_of_image>")
        )
        names = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image>"}
        words = PreTrainedTokenizerFast(
            tokenizer_object=words.backend_tokenizer,
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            extra_special_tokens=names,
            chat_template=words.chat_template,
        )
        ids = {f"{key}_index": words.convert_tokens_to_ids(token) for key, token in names.items()}
        kinds = ["sliding_attention", "full_attention"]
        text = Gemma3TextConfig(
            vocab_size=len(words), sliding_window=16, layer_types=kinds, query_pre_attn_scalar=8, **TEXT
        )
        config = Gemma3Config(vision_config=VISION, text_config=text, mm_tokens_per_image=9, **ids)
        written(Gemma3ForConditionalGeneration(config), words, folder)
        Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
        return folder

    @staticmethod
    def inputs(both: Both, pictures: list, text: str) -> dict[str, torch.Tensor]:
        made = Gemma3Processor(both.image_processor, both.tokenizer, image_seq_length=9)
        given = made(images=[pictures], text=[text], return_tensors="pt", add_special_tokens=False)
        return {key: given[key] for key in ("input_ids", "pixel_values", "token_type_ids")}

    def test_pooled_patches_are_the_grid(self, both: Both, noise) -> None:
        view = both.pipe.view(noise(60, 90))
        assert view.grid == (3, 3) and view.boxes[-1].tolist() == [40, 60, 60, 90]
        prompt = both.pipe.ask(noise(60, 90), QUESTION, max_new_tokens=1).prompt
        assert prompt.image_tokens == 9 and "<start_of_image>" in prompt.text and "<image>" not in prompt.text

    def test_pan_and_scan_is_refused_in_a_sentence(self, both: Both, noise, monkeypatch: pytest.MonkeyPatch) -> None:
        from vlm_demo.errors import UnsupportedModel

        given = {"do_pan_and_scan": True, "pan_and_scan_min_crop_size": 8, "pan_and_scan_max_num_crops": 4}
        for key, value in (given | {"pan_and_scan_min_ratio_to_activate": 1.2}).items():
            monkeypatch.setattr(both.pipe.view.processor, key, value)
        with pytest.raises(UnsupportedModel, match="cuts pictures"):
            both.pipe.view(noise(200, 60))
