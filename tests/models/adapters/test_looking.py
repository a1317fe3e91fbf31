"""Where a word looked, in BLIP-2 and Idefics: the tapped rows against eager attention's full weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.kit.tiny import tiny_blip2, tiny_idefics
from tests.models.adapters.both import Both

QUESTION = "How many circles are there?"


@torch.no_grad()
@pytest.mark.parametrize("lm", ["llama", "opt"])
@pytest.mark.parametrize("frequency", [1, 2])
def test_a_words_map_is_its_look_at_the_queries_times_theirs_at_the_patches(
    tmp_path: Path, noise, lm: str, frequency: int
) -> None:
    both = Both(tiny_blip2(tmp_path, lm=lm, frequency=frequency), "eager")
    picture = noise(70, 90)
    answer = both.pipe.ask(picture, QUESTION, max_new_tokens=5)
    pixels = both.inputs([picture], both.prompt(QUESTION, 1))["pixel_values"]
    features = both.plain.vision_model(pixels).last_hidden_state
    queried = both.plain.qformer(
        query_embeds=both.plain.query_tokens, encoder_hidden_states=features, output_attentions=True
    )
    queries = torch.stack(queried.cross_attentions)[:, 0]  # [layers, heads, queries, patches]
    assert queries.shape == (4 // frequency, 2, 5, 17)
    patch_weights = (
        both.pipe.stages().bridge(both.pipe.stages().encoder(both.pipe.view.with_pixels(answer.view))).patch_weights
    )
    assert (patch_weights[0] - queries.mean((0, 1))).abs().max() < 1e-4
    assert (patch_weights.sum(-1) - 1).abs().max() < 1e-5
    ids, columns = list(answer.prompt.ids), list(answer.prompt.image_positions)
    assert len(answer.tokens) >= 3
    for i, token in enumerate(answer.tokens):
        full = both.plain(input_ids=torch.tensor([ids]), pixel_values=pixels, output_attentions=True)
        weights = torch.stack([layer[0, :, -1] for layer in full.language_model_outputs.attentions])[:, :, columns]
        assert abs(answer.trace.image[i].astype(np.float32) - weights.numpy()).max() < 1e-3
        composed = weights @ queries.mean((0, 1))[:, 1:]  # without the class token
        assert abs(answer.trace.rows(0, [i])[0] - composed.numpy()).max() < 1e-3
        assert answer.trace.rows(0, [i]).std() > 1e-4
        ids.append(token.id)


@torch.no_grad()
@pytest.mark.parametrize("interval", [1, 2])
def test_idefics_rows_are_its_cross_attentions(tmp_path: Path, noise, interval: int) -> None:
    both = Both(tiny_idefics(tmp_path, interval=interval), "eager")
    picture = noise(70, 90)
    view = both.pipe.view(picture)
    prompt = both.pipe.stages().prompt(QUESTION, [1])
    steps = list(
        both.pipe.stages().llm(prompt, both.pipe.stages().bridge(both.pipe.stages().encoder(view)), max_new_tokens=5)
    )
    assert len(steps) >= 3
    seen: list[torch.Tensor] = []
    for layer in both.plain.model.gated_cross_attn_layers:
        layer.cross_attn.register_forward_hook(lambda _module, _inputs, output: seen.append(output[1][0, :, -1]))
    inputs = both.inputs([picture], both.prompt(QUESTION, 1))
    for step in steps:
        seen.clear()
        both.plain(**inputs)
        weights = torch.stack(seen)  # [layers, heads, patches]
        assert weights.shape == step.rows.image[0].shape == (4 // interval, 4, 17)
        assert (step.rows.image[0] - weights).abs().max() < 2e-5
        assert (weights.sum(-1) - 1).abs().max() < 1e-5 and weights.std() > 1e-3
        assert step.rows.text is None and step.rows.first is None
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([[step.id]])], 1)
        mask = inputs["image_attention_mask"]
        inputs["image_attention_mask"] = torch.cat([mask, mask[:, -1:]], 1)


def test_idefics_looks_at_no_picture_but_the_last(tmp_path: Path, noise) -> None:
    pipe = Both(tiny_idefics(tmp_path)).pipe
    answer = pipe.ask([noise(60, 60, 1), noise(60, 90, 2)], QUESTION, max_new_tokens=3)
    assert not answer.trace.rows(0).any() and answer.trace.rows(1).any()
    assert not answer.heatmap(0, image=0).any() and answer.heatmap(0, image=1).max() == 1


def test_the_queries_of_each_picture_look_at_their_own(tmp_path: Path, noise) -> None:
    pipe = Both(tiny_blip2(tmp_path)).pipe
    pictures = [noise(60, 60, 1), noise(60, 90, 2)]
    together = pipe.stages().bridge(pipe.stages().encoder([pipe.view(picture) for picture in pictures]))
    for i, picture in enumerate(pictures):
        alone = pipe.stages().bridge(pipe.stages().encoder(pipe.view(picture)))
        assert (together.patch_weights[i] - alone.patch_weights[0]).abs().max() < 1e-5
    answer = pipe.ask(pictures, QUESTION, max_new_tokens=3)
    assert answer.trace.patch_weights.shape == (2, 5, 17)
    rows = [
        answer.trace.image[..., 5 * i : 5 * i + 5].astype(np.float32) @ answer.trace.patch_weights[i] for i in range(2)
    ]
    for i in range(2):
        assert abs(answer.trace.rows(i) - rows[i][..., 1:]).max() < 1e-3


def test_encoders_are_not_tapped(tmp_path: Path) -> None:
    blip2 = Both(tiny_blip2(tmp_path / "blip2")).pipe.model
    idefics = Both(tiny_idefics(tmp_path / "idefics")).pipe.model
    for config in (blip2.vision_model.config, idefics.model.vision_model.config):
        assert config._attn_implementation == "sdpa"
