"""The tapped rows against eager attention's full weights."""

from pathlib import Path

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from tests.kit.tiny import tiny_llava
from vlm_demo import Pipeline
from vlm_demo.runtime import attention_tap

QUESTION = "How many circles are there?"
pytestmark = pytest.mark.usefixtures("bf16_as_stored")


# In bf16 the two attentions round differently and later layers carry that on, so there only the first is comparable.
@pytest.mark.parametrize(("dtype", "depth", "tolerance"), [(torch.float32, 3, 2e-5), (torch.bfloat16, 1, 2e-2)])
def test_rows_are_eager_attentions_at_every_step_layer_and_head(dtype, depth, tolerance, tmp_path: Path, noise):
    folder = tiny_llava(tmp_path, dtype=dtype)
    pipe = Pipeline.from_pretrained(folder)
    attention = {"text_config": "eager", "vision_config": "sdpa"}
    eager = LlavaForConditionalGeneration.from_pretrained(folder, dtype="auto", attn_implementation=attention).eval()
    view = pipe.view(noise(70, 90))
    prompt = pipe.stages().prompt(QUESTION, [16])
    steps = list(pipe.stages().llm(prompt, pipe.stages().bridge(pipe.stages().encoder(view)), max_new_tokens=6))
    assert len(steps) >= 3
    ids = list(prompt.ids)
    columns = list(prompt.image_positions)
    for step in steps:
        with torch.no_grad():
            full = eager(input_ids=torch.tensor([ids]), pixel_values=view.pixel_values, output_attentions=True)
        weights = torch.stack([layer[0, :, -1].float() for layer in full.attentions])  # [layers, heads, keys]
        others = [i for i in range(1, len(ids)) if i not in columns]
        assert step.rows.image.shape == (1, 3, 4, 16)
        assert step.rows.image.dtype == torch.float32
        assert (step.rows.image[0] - weights[:, :, columns])[:depth].abs().max() < tolerance
        assert (step.rows.first[0] - weights[:, :, 0])[:depth].abs().max() < tolerance
        assert (step.rows.text[0] - weights[:, :, others].sum(-1))[:depth].abs().max() < tolerance
        ids.append(step.id)


def test_shares_sum_to_one(pipe: Pipeline, noise) -> None:
    trace = pipe.ask(noise(60, 60), QUESTION, max_new_tokens=3).trace
    total = trace.image.astype(float).sum(-1) + trace.text + trace.first
    assert abs(total - 1).max() < 5e-3


@pytest.mark.parametrize("kind", ["none", "boolean", "additive"])
def test_masks_of_every_kind_hide_what_they_hide(kind: str) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(1, 4, 6, 8), torch.randn(1, 2, 6, 8)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()[None, None]
    if kind != "none":
        causal = causal & (torch.arange(6) != 2)
    mask = {"none": None, "boolean": causal, "additive": torch.where(causal, 0.0, torch.finfo(torch.float32).min)}[kind]
    scores = query @ key.repeat_interleave(2, 1).transpose(2, 3) * 8**-0.5
    expected = scores.masked_fill(~causal, -torch.inf).softmax(-1)[0, :, -3:]
    assert torch.allclose(attention_tap._last_rows(query, key, mask, 3, None), expected, atol=1e-6)


def test_queries_that_see_everything_are_not_masked() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 9, 8)
    expected = (query @ key.transpose(2, 3) * 8**-0.5).softmax(-1)  # [batch, heads, queries, keys]
    weights = attention_tap._last_rows(query, key, None, 4, None, causal=False)
    assert torch.allclose(weights, expected.transpose(0, 1).flatten(1, 2), atol=1e-6)


class Attention(torch.nn.Module):
    is_causal = False


def test_only_the_named_modules_are_recorded_and_keys_that_are_all_pictures_leave_no_text() -> None:
    query, key = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 9, 8)
    named, other = Attention(), Attention()
    with attention_tap.recording(None, last=None, only={named}) as recorder:
        for module in (other, named, other):
            attention_tap.tapped_sdpa(module, query, key, key, None)
    rows = recorder.rows()
    assert rows.image.shape == (4, 1, 2, 9) and rows.text is None and rows.first is None
    assert torch.allclose(rows.image.sum(-1), torch.ones(4, 1, 2))


def test_a_picture_that_begins_the_prompt_is_counted_once() -> None:
    recorder = attention_tap.Recorder(torch.tensor([0, 1]), 1, None)
    recorder.take(torch.tensor([[[0.5, 0.2, 0.3]]]))
    rows = recorder.rows()
    assert rows.first.item() == 0 and rows.text.item() == pytest.approx(0.3)
    assert rows.image.flatten().tolist() == pytest.approx([0.5, 0.2])


def test_of_many_queries_the_same_is_kept_in_less_room() -> None:
    columns, queries = torch.tensor([1, 2, 5]), attention_tap.MANY_QUERIES + 1
    layers = torch.rand(4, 2, queries, 9).softmax(-1)
    cut = attention_tap.Recorder(columns, queries, None)
    for layer in layers:
        cut.take(layer)
    assert all(isinstance(layer, tuple) for layer in cut.layers)
    rows = cut.rows()
    assert torch.equal(rows.image, layers[..., columns].permute(2, 0, 1, 3))
    assert torch.equal(rows.first, layers[..., 0].permute(2, 0, 1))
    expected = layers[..., [3, 4, 6, 7, 8]].sum(-1).permute(2, 0, 1)
    assert torch.allclose(rows.text, expected, atol=1e-6) and rows.text.shape == (queries, 4, 2)


def test_nothing_is_recorded_outside(pipe: Pipeline) -> None:
    with attention_tap.recording([0]) as recorder:
        pass
    pipe.model.model.language_model(inputs_embeds=torch.zeros(1, 4, 64))
    assert recorder.rows() is None


def test_the_vision_tower_is_not_tapped(pipe: Pipeline) -> None:
    assert pipe.model.model.vision_tower.config._attn_implementation == "sdpa"
    assert pipe.model.model.language_model.config._attn_implementation == attention_tap.NAME


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("heads", [2, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_one_query_attends_as_sdpa_does(masked: bool, heads: int, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, heads, 1, 8).to(dtype)
    key, value = torch.randn(2, 2, 7, 8).to(dtype), torch.randn(2, 2, 7, 8).to(dtype)
    mask = torch.arange(7)[None, None, None] > torch.tensor([0, 2])[:, None, None, None] if masked else None
    shared = (states.repeat_interleave(heads // 2, 1) for states in (key, value))
    expected = torch.nn.functional.scaled_dot_product_attention(query, *shared, attn_mask=mask, scale=0.3)
    module = torch.nn.Module()
    module.num_key_value_groups = heads // 2
    output, _ = attention_tap.tapped_sdpa(module, query, key, value, mask, scaling=0.3)
    assert output.dtype == dtype and output.shape == (2, 1, heads, 8)
    assert (output - expected.transpose(1, 2)).abs().max() < tolerance


@pytest.mark.parametrize("key_heads", [2, 6])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_one_query_is_the_same_recorded_or_not_and_its_rows_are_its_weights(
    key_heads: int, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, 6, 1, 8).to(dtype)
    key, value = (torch.randn(2, key_heads, 9, 8).to(dtype) for _ in range(2))
    repeated = [states.repeat_interleave(6 // key_heads, 1) for states in (key, value)]
    expected = torch.nn.functional.scaled_dot_product_attention(query, *repeated, scale=0.2).transpose(1, 2)
    plain, _ = attention_tap.tapped_sdpa(torch.nn.Module(), query, key, value, None, scaling=0.2)
    with attention_tap.recording(torch.arange(3), 1) as recorder:
        recorded, _ = attention_tap.tapped_sdpa(torch.nn.Module(), query, key, value, None, scaling=0.2)
    assert plain.dtype == dtype and torch.equal(plain, recorded)
    assert (plain - expected).abs().max() < tolerance
    weights = (query.float() @ repeated[0].float().transpose(2, 3) * 0.2).softmax(-1)[:, :, 0]
    assert torch.allclose(recorder.rows().image[:, 0], weights[..., :3], atol=1e-5)
