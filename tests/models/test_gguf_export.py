"""What llama.cpp is given: the checkpoint's weights, tokens and prompt, and a vision encoder that gives its image
tokens when it is computed as llama.cpp's own graph does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from jinja2.sandbox import ImmutableSandboxedEnvironment
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer, LlavaForConditionalGeneration

from tests.kit import composed
from vlm_demo.cli.main import main
from vlm_demo.models import embedded, gguf_export, loading, smollm2, user_cache

SIDE, PATCHES = 42, 9


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small llava-vit, put together in ``cache`` and exported to ``out``."""
    place = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_cache, "folder", lambda: place / "cache")
        patch.setattr(loading, "EMBEDDED", place / "models")
        composed.install(place / "site", patch, list(composed.PACKAGES))
        tensors = composed.trained()
        tensors["projector.linear_1.weight"] = torch.randn(composed.WIDTH, 64) * 0.2
        composed.ship(place / "models" / "small-vit", tensors, vision_tower=composed.VIT, image_size=SIDE)
        assert main(["export", "small-vit", str(place / "out"), "--gguf"]) == 0
    return place


@pytest.fixture(scope="module")
def checkpoint(place: Path) -> Path:
    return next((place / "cache").glob("small-vit-*"))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> LlavaForConditionalGeneration:
    return LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()


def half(weight: Tensor) -> Tensor:
    return weight.half().float() if weight.ndim == 2 else weight


def test_the_language_model_is_the_checkpoints_with_its_matrices_in_float16(place: Path, model) -> None:
    read = smollm2.read(place / "out" / "small-vit.gguf")
    expected = model.model.language_model.state_dict()
    assert set(read.weights) == {f"model.{name}" for name in expected}
    for name, weight in expected.items():
        assert torch.equal(read.weights[f"model.{name}"], half(weight)), name
    exported, original = read.config.to_dict(), model.config.text_config.to_dict()
    for name in ("num_attention_heads", "num_key_value_heads", "head_dim", "rope_parameters", "rms_norm_eps",
                 "intermediate_size", "max_position_embeddings", "vocab_size", "eos_token_id"):  # fmt: skip
        assert exported[name] == original[name], name


def test_its_tokens_are_the_checkpoints(place: Path, checkpoint: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    read = smollm2.read(place / "out" / "small-vit.gguf").tokenizer
    assert read.get_vocab() == tokenizer.get_vocab()
    text = "<|im_start|>user\n<image>What is it? 12.50 für 3\n<|im_end|>"
    assert read(text)["input_ids"] == tokenizer(text)["input_ids"]
    fields = GGUFReader(place / "out" / "small-vit.gguf").fields
    assert fields["tokenizer.ggml.pre"].contents() == "smollm"
    assert fields["tokenizer.ggml.add_bos_token"].contents() is False


def rendered(template: str, messages: list[dict[str, Any]]) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(messages=messages, add_generation_prompt=True)


@pytest.mark.parametrize("kind", ["text", "media_marker"])
def test_its_prompt_is_the_checkpoints_with_a_marker_for_each_picture(place: Path, kind: str) -> None:
    """llama-cpp-python hands a picture over as a text, llama.cpp's own server as a part of another type."""
    template = GGUFReader(place / "out" / "small-vit.gguf").fields["tokenizer.chat_template"].contents()

    def asked(picture: dict[str, str]) -> list[dict[str, Any]]:
        question = [picture, picture, {"type": "text", "text": "Which one?"}]
        return [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": question},
        ]

    expected = rendered(smollm2.CHAT_TEMPLATE, asked({"type": "image"}))
    made = rendered(template, asked({"type": kind, "text": gguf_export.MARKER}))
    assert made == expected.replace("<image>", gguf_export.MARKER) and made.count(gguf_export.MARKER) == 2
    assert rendered(template, asked({"type": "image_url"})) == made


def llama_cpp(tensors: dict[str, Tensor], fields: dict[str, Any], pixels: Tensor) -> Tensor:
    """Image tokens as llama.cpp's LLaVA graph (``clip_graph_llava``) computes them from the file, but for its GELU,
    which is exact here."""
    heads, eps = fields["clip.vision.attention.head_count"], fields["clip.vision.attention.layer_norm_epsilon"]
    (layers,) = fields["clip.vision.feature_layer"]

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def normed(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], eps)

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(0, 1)

    patch = fields["clip.vision.patch_size"]
    patches = F.conv2d(pixels[None], tensors["v.patch_embd.weight"], tensors["v.patch_embd.bias"], stride=patch)
    x = torch.cat([patches[0].flatten(1).T, tensors["v.class_embd"][None]]) + tensors["v.position_embd.weight"]
    for layer in range(layers):
        name = f"v.blk.{layer}"
        hidden = normed(f"{name}.ln1", x)
        query, key, value = (split(linear(f"{name}.attn_{part}", hidden)) for part in "qkv")
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(0, 1).flatten(1)
        x = x + linear(f"{name}.attn_out", mixed)
        x = x + linear(f"{name}.ffn_down", F.gelu(linear(f"{name}.ffn_up", normed(f"{name}.ln2", x))))
    return linear("mm.2", F.gelu(linear("mm.0", x[1:])))


@torch.no_grad()
def test_its_graph_gives_the_checkpoints_image_tokens_from_the_second_on(place: Path, model) -> None:
    file = GGUFReader(place / "out" / "mmproj-small-vit.gguf")
    tensors = {tensor.name: torch.from_numpy(np.array(tensor.data, np.float32)) for tensor in file.tensors}
    fields = {name: field.contents() for name, field in file.fields.items()}
    pixels = torch.randn(3, SIDE, SIDE)
    made = llama_cpp(tensors, fields, pixels)
    expected = model.model.get_image_features(pixel_values=pixels[None]).pooler_output[0]
    assert made.shape == (PATCHES, composed.WIDTH) == expected.shape
    torch.testing.assert_close(made[:-1], expected[1:], atol=0.02, rtol=0.02)
    assert expected.std() > 0.5 and (made[1:] - expected[1:]).abs().max() > 0.5  # one place on, they are others
    kept = {tensor.name for tensor in file.tensors if tensor.tensor_type.name == "F32"}
    assert {"v.patch_embd.weight", "v.position_embd.weight", "v.class_embd"} < kept
    assert fields["clip.projector_type"] == "mlp" and fields["clip.vision.image_size"] == SIDE
    assert fields["clip.vision.image_mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert "v.blk.2.ln1.weight" not in tensors and fields["clip.vision.block_count"] == 2


def test_what_llama_cpp_reads_no_encoder_of_is_refused_before_it_is_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "EMBEDDED", tmp_path / "models")
    monkeypatch.setattr(embedded, "assembled", lambda *_: pytest.fail("put together"))
    composed.ship(tmp_path / "models" / "small")
    assert main(["export", "small", str(tmp_path / "out"), "--gguf"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("small can't be written as GGUF") and "export llava-vit" in lines[0]
    assert not (tmp_path / "out").exists()
