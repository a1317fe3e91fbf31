"""The gated layers begin as if they were not there, and only they are trained."""

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    CLIPVisionConfig,
    IdeficsForVisionText2Text,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from vlm_demo.synthetic.asking import Question
from vlm_demo.training import idefics, llava
from vlm_demo.training.packing import Packer, block_mask, collate

SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture
def shared(tokenizer):
    torch.manual_seed(0)
    vision = CLIPVisionConfig(**SMALL, image_size=32, patch_size=16)
    text = LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=1, eos_token_id=2, **SMALL)
    return LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text)).eval()


@pytest.fixture
def model(shared, tokenizer):
    made = idefics.build(tokenizer, shared.config.vision_config, shared.config.text_config).eval()
    idefics.take_over(made, shared)
    return made


def _open(model):
    for layer in model.model.gated_cross_attn_layers:
        layer.alpha_cross_attn.data.fill_(1.0)
        layer.alpha_dense.data.fill_(1.0)


def _run(model, ids, values, **more):
    mask = torch.ones(*ids.shape, 1, dtype=torch.long)
    return model.model(input_ids=ids, pixel_values=values[:, None], image_attention_mask=mask, **more).last_hidden_state


@torch.no_grad()
def test_with_its_gates_closed_it_is_the_language_model(model, shared):
    ids, values = torch.tensor([[1, 20, 30, 40]]), torch.randn(1, 3, 32, 32)
    plain = shared.model.language_model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(_run(model, ids, values), plain, atol=1e-5, rtol=1e-4)
    _open(model)
    opened = _run(model, ids, values)
    assert not torch.allclose(opened, plain, atol=1e-2)
    assert not torch.allclose(opened, _run(model, ids, values + 1), atol=1e-4)


@torch.no_grad()
def test_it_sees_the_shared_encoders_features(model, shared):
    values = torch.randn(2, 3, 32, 32)
    mine = model.model.vision_model(values).last_hidden_state
    torch.testing.assert_close(mine, shared.model.vision_tower(values).last_hidden_state, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_questions_answer_as_if_alone(model, tokenizer, attention):
    _open(model)
    model.set_attn_implementation(attention)
    questions = [Question("a", f"How many {word} are there?", "two") for word in ("circles", "red stars", "bars")]
    packed = Packer(tokenizer, idefics.IMAGE_TOKENS).pack(questions, None, np.random.default_rng(0))
    batch = collate([packed], tokenizer.pad_token_id)
    values = torch.randn(1, 3, 32, 32)
    mask = block_mask(batch["blocks"], torch.float32)
    together = _run(model, batch["ids"], values, attention_mask=mask, position_ids=batch["positions"])[0]
    for block in range(1, packed.blocks.max() + 1):
        own = (packed.blocks == 0) | (packed.blocks == block)
        alone = _run(model, torch.from_numpy(packed.ids[own])[None], values)[0]
        torch.testing.assert_close(together[own], alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_saved_checkpoint_generates_in_plain_transformers(model, tokenizer, tmp_path):
    _open(model)
    idefics.save(model, tokenizer, tmp_path)
    plain = IdeficsForVisionText2Text.from_pretrained(tmp_path)
    assert plain.config.image_token_id == tokenizer.convert_tokens_to_ids("<image>")
    ids, values = torch.tensor([[1, 4, 3, 20, 5]]), torch.randn(1, 1, 3, 32, 32, dtype=torch.bfloat16)
    mask = torch.ones(1, 5, 1, dtype=torch.long)
    said = plain.generate(input_ids=ids, pixel_values=values, image_attention_mask=mask, max_new_tokens=3)
    first = model(input_ids=ids, pixel_values=values, image_attention_mask=mask).logits[0, -1].argmax()
    assert said[0, 5] == first and AutoTokenizer.from_pretrained(tmp_path).chat_template


def test_another_decoder_is_refused(model, shared):
    shared.model.language_model.register_parameter("more", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(ValueError, match="more"):
        idefics.take_over(model, shared)


def test_the_recipe_trains_the_gated_layers_alone(tmp_path, tokenizer):
    torch.manual_seed(0)
    start = tmp_path / "start"
    llava.save(llava.build(tokenizer), tokenizer, start)
    done = idefics.train(tmp_path, 0.06, 3, "cpu", 1, False, start)
    model, _ = idefics.load_latest(tmp_path)
    begun = idefics.build(tokenizer, *(getattr(model_config(start), name) for name in ("vision_config", "text_config")))
    idefics.take_over(begun, idefics.load(start)[0])
    before, after = begun.state_dict(), model.state_dict()
    moved = [key for key in after if "gated" not in key and not torch.equal(before[key], after[key])]
    gates = [value for key, value in after.items() if "alpha" in key]
    assert moved == [] and all(value.abs().max() > 0 for value in gates)
    gated = sum(value.numel() for key, value in after.items() if "gated" in key)
    assert done["cross"]["steps"] and done["cross"]["trainable"] == gated
    assert idefics.train(tmp_path, 0.06, 3, "cpu", 1, True, start) == done


def test_exported_gated_layers_are_gone_on_from(tmp_path, tokenizer):
    torch.manual_seed(0)
    llava.save(llava.build(tokenizer), tokenizer, tmp_path / "start")
    idefics.train(tmp_path, 0.05, 3, "cpu", 1, False, tmp_path / "start")
    model, _ = idefics.load_latest(tmp_path)
    _open(model)
    idefics.save(model, tokenizer, tmp_path / "out")
    idefics.train(tmp_path / "next", 0.01, 3, "cpu", 1, False, tmp_path / "start", tmp_path / "out")
    gone_on, _ = idefics.load_latest(tmp_path / "next")
    opened = [value for key, value in gone_on.state_dict().items() if "alpha" in key]
    assert all((value - 1).abs().max() < 0.1 for value in opened)
    with pytest.raises(ValueError, match="gated"):
        idefics.train(tmp_path / "no", 0.01, 3, "cpu", 1, False, tmp_path / "start", tmp_path / "start")


def model_config(start):
    return LlavaConfig.from_pretrained(start)
