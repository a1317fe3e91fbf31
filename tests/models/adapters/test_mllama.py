"""Mllama against plain transformers: tiles that see each other, and cross-attention whose keys are cached."""

from pathlib import Path

import pytest
import torch
from transformers import MllamaConfig, MllamaForConditionalGeneration, MllamaImageProcessorPil, MllamaProcessor
from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

from tests.kit.tiny import SPECIAL, TEMPLATE, noise, tokenizer, write
from tests.models.adapters.parity import PORTRAIT, Both, Parity, Placed

SIDE, PATCHES = 24, 16


class TestMllama(Placed, Parity):
    @staticmethod
    def make(folder: Path) -> Path:
        torch.manual_seed(0)
        words = tokenizer(more=("<|image|>",), template=TEMPLATE.replace("<image>", "<|image|>"))
        vision = MllamaVisionConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_global_layers=1,
            attention_heads=2,
            intermediate_size=48,
            vision_output_dim=64,
            image_size=SIDE,
            patch_size=6,
            intermediate_layers_indices=[0],
            max_num_tiles=4,
        )
        text = MllamaTextConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=48,
            max_position_embeddings=1024,
            cross_attention_layers=[1],
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
        image = words.convert_tokens_to_ids("<|image|>")
        model = MllamaForConditionalGeneration(
            MllamaConfig(vision_config=vision, text_config=text, image_token_index=image)
        )
        noise(model, {"vision_model": 0.35, "cross_attn": 0.5})
        with torch.no_grad():  # gates are single numbers, which begin at zero
            for name, parameter in model.named_parameters():
                if "gate" in name:
                    parameter.add_(1.0)
        write(model, folder, {token: words.convert_tokens_to_ids(token) for token in SPECIAL}, torch.float32)
        words.save_pretrained(folder)
        MllamaImageProcessorPil(size={"height": SIDE, "width": SIDE}, max_image_tiles=4).save_pretrained(folder)
        return folder

    @staticmethod
    def inputs(both: Both, pictures: list, text: str) -> dict[str, torch.Tensor]:
        both.tokenizer.image_token, both.tokenizer.image_token_id = "<|image|>", both.plain.config.image_token_index
        made = MllamaProcessor(both.image_processor, both.tokenizer)
        return dict(made(images=[pictures], text=[text], add_special_tokens=False, return_tensors="pt"))

    @torch.no_grad()
    def test_cross_attention_rows_are_eagers(self, both: Both, noise) -> None:
        inputs = self.inputs(both, [noise(*PORTRAIT, 5)], self.text_of(both, 1))
        seen: list[torch.Tensor] = []
        layer = both.eager.model.language_model.layers[1].cross_attn
        layer.register_forward_hook(lambda _module, _inputs, out: seen.append(out[1]))
        both.eager(**inputs)
        answer = both.pipe.ask(noise(*PORTRAIT, 5), "How many circles are there in the picture?", max_new_tokens=1)
        rows = torch.tensor(answer.trace.image[0, 0]).float()
        assert (rows - seen[0][0, :, -1, : rows.shape[-1]]).abs().max() < 1e-3
        assert seen[0][0, :, -1, rows.shape[-1] :].sum() == 0  # tiles that are not there

    def test_tiles_lie_in_the_corner_of_a_canvas(self, both: Both, noise) -> None:
        """90 × 160 goes into 2 × 2 tiles, 48 pixels high: 27 × 48, and the rest is black."""
        view = both.pipe.view(noise(*PORTRAIT))
        pixels = both.image_processor(noise(*PORTRAIT), return_tensors="pt")["pixel_values"][0, 0]
        assert torch.equal(view.pixel_values, pixels)
        assert (view.tiling, view.grid) == ((2, 2), (8, 8))
        assert view.boxes[1].tolist() == pytest.approx([20, 0, 40, 20])
        assert view.patch_grids[0].tokens[:8].tolist() == [1, 2, 3, 4, *range(PATCHES + 2, PATCHES + 6)]
        answer = both.pipe.ask(noise(*PORTRAIT), "What is it?", max_new_tokens=1)
        assert answer.trace.counts == (4 * (PATCHES + 1),)
        assert answer.heatmap(0).max() == pytest.approx(1)
