"""The attention tap and teacher-forced passes in every family that writes: against eager attention and the answer."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AttentionInterface

from tests.kit.tiny import tiny_blip2, tiny_clip, tiny_idefics, tiny_llava, tiny_siglip
from tests.models.adapters import (
    test_gemmas,
    test_idefics3,
    test_instructblip,
    test_internvl,
    test_llava_next,
    test_mllama,
    test_qwen_vl,
)
from vlm_demo import Pipeline
from vlm_demo.runtime import attention_tap

pytestmark = pytest.mark.usefixtures("bf16_as_stored")

QUESTION = "How many circles are there?"
FAMILIES = [
    test_gemmas.TestPaliGemma,
    test_gemmas.TestGemma3,
    test_idefics3.TestIdefics3,
    test_idefics3.TestSmolVlm,
    test_instructblip.TestInstructBlip,
    test_internvl.TestInternVl,
    test_llava_next.TestLlavaNext,
    test_llava_next.TestLlavaOnevision,
    test_mllama.TestMllama,
    test_qwen_vl.TestQwen25Vl,
    test_qwen_vl.TestQwen3Vl,
]


WITH_PARITY = {family.__name__.removeprefix("Test"): family.make for family in FAMILIES}
WRITING = {"Llava": tiny_llava, "Blip2": tiny_blip2, "Idefics": tiny_idefics} | WITH_PARITY


@pytest.fixture(scope="module")
def pipe_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pipeline]:
    """The pipeline of a family, loaded once."""
    return cache(lambda name: Pipeline.from_pretrained(WRITING[name](tmp_path_factory.mktemp(name))))


@pytest.mark.parametrize("name", WITH_PARITY)
def test_all_offered_methods_read_the_answer_that_was_given(
    name: str, pipe_of: Callable[[str], Pipeline], noise
) -> None:
    pipe = pipe_of(name)
    answer = pipe.ask(noise(90, 160), QUESTION, max_new_tokens=3)
    patches = len(answer.view.boxes)
    masks = np.zeros((2, patches), bool)
    masks[1] = True
    likelihoods = pipe.likelihoods(answer, masks)
    assert np.exp(likelihoods[0]) == pytest.approx([token.probability for token in answer.tokens], rel=2e-2, abs=1e-4)
    assert abs(likelihoods[1] - likelihoods[0]).max() > 1e-4
    for method, reason in pipe.heatmap_methods(answer).items():
        if reason is None:
            cells = pipe.cells(answer, 0, method=method)
            assert cells.shape == (patches,) and np.isfinite(cells).all(), method
            assert method in ("activation", "occlusion", "queries", "relevancy") or cells.std() > 0, method
    assert pipe.grounding(answer).sentence


def narrow(folder: Path) -> Path:
    """The checkpoint stored in bf16."""
    pipe = Pipeline.from_pretrained(folder)
    pipe.model.set_attn_implementation("sdpa")
    pipe.model.to(torch.bfloat16).save_pretrained(folder)
    return folder


class Compared:
    """Stands in for the tapped attention, and compares what is recorded of each layer with eager attention's weights
    for the same queries and keys. Layers are not carried on from each other, so each is compared with its own rounding.

    Attributes:
        apart: the largest distance in each recorded layer.
        allowed: what rounding may make of it there: that of the largest score, and of a weight, which is at most 1.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.apart: list[float] = []
        self.allowed: list[float] = []
        self.plain = attention_tap.tapped_sdpa
        monkeypatch.setattr(attention_tap, "tapped_sdpa", self)
        monkeypatch.setitem(AttentionInterface._global_mapping, attention_tap.NAME, self)

    def __call__(self, module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **kwargs: Any) -> Any:
        recorder = attention_tap._recorder.get()
        before = len(recorder.layers) if isinstance(recorder, attention_tap.Recorder) else 0
        out = self.plain(module, query, key, value, attention_mask, **kwargs)
        if isinstance(recorder, attention_tap.Recorder) and len(recorder.layers) > before:
            rows = self.eager(module, query, key, value, attention_mask, **kwargs)
            expected = attention_tap.Recorder(recorder.columns, recorder.last, None, recorder.length)
            last = query.shape[2] if recorder.last is None else recorder.last
            expected.take(rows[:, :, query.shape[2] - last :].float().transpose(0, 1).flatten(1, 2))
            pairs = zip(recorder.layers[-1], expected.layers[0], strict=True)
            self.apart.append(max(float((one - two).abs().max()) for one, two in pairs))
            keys = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
            scores = query.float() @ keys.float().transpose(-1, -2) * (kwargs.get("scaling") or query.shape[-1] ** -0.5)
            self.allowed.append(torch.finfo(query.dtype).eps * (1 + float(scores.abs().max())))
        return out

    @staticmethod
    def eager(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        """The weights [batch, heads, queries, keys] of the family's own eager attention."""
        queries, keys, lowest = query.shape[2], key.shape[2], torch.finfo(query.dtype).min
        is_causal = kwargs.get("is_causal")
        if mask is None and (module.is_causal if is_causal is None else is_causal):
            mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)[None, None]
        if mask is not None and mask.dtype == torch.bool:
            mask = torch.where(mask, 0.0, lowest).to(query.dtype)
        given = {"scaling": query.shape[-1] ** -0.5} | {name: kwargs[name] for name in ("scaling",) if kwargs.get(name)}
        attend = sys.modules[type(module).__module__].eager_attention_forward
        return attend(module, query, key, value, mask, dropout=0.0, **given)[1]


@pytest.mark.parametrize("name", WRITING)
def test_rows_are_eagers_within_bf16_rounding_in_every_layer_and_head(
    name: str, tmp_path: Path, noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = Pipeline.from_pretrained(narrow(WRITING[name](tmp_path)))
    assert pipe.precision == "bf16"
    compared = Compared(monkeypatch)
    answer = pipe.ask(noise(90, 160), QUESTION, max_new_tokens=3)
    layers = answer.trace.image.shape[1]
    family = pipe.stages().family
    assert layers == (
        len(family.image_attentions)
        if family.image_attentions is not None
        else family.language_model.config.num_hidden_layers
    )
    steps = len(answer.tokens) + (answer.trace.closing is not None)
    assert len(compared.apart) == steps * layers + len(family.bridge_attentions)
    assert all(apart < allowed for apart, allowed in zip(compared.apart, compared.allowed, strict=True))


@pytest.mark.parametrize("name", WRITING)
def test_tokens_are_the_same_with_the_tap_on_and_off(
    name: str, pipe_of: Callable[[str], Pipeline], noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = pipe_of(name)
    pipe.forget()
    opened = pipe.ask(noise(90, 160), QUESTION, max_new_tokens=6)
    monkeypatch.setattr(pipe.stages().llm, "tapping", False)
    pipe.forget()
    closed = pipe.ask(noise(90, 160), QUESTION, max_new_tokens=6)
    assert closed.tokens == opened.tokens and closed.trace is None and opened.trace is not None


@torch.no_grad()
@pytest.mark.parametrize("make", [tiny_clip, tiny_siglip, tiny_blip2])
def test_the_tap_in_the_vision_encoder_changes_nothing_and_hears_every_head(
    make: Callable[[Path], Path], tmp_path: Path, noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = Pipeline.from_pretrained(make(tmp_path))
    family = (pipe.scoring or pipe.stages()).family
    pixels, layers = pipe.view(noise(90, 160)).pixel_values, family.encoder_layers
    plain = family.encode(pixels)
    compared = Compared(monkeypatch)
    with attention_tap.installed(layers), attention_tap.recording(None, last=None) as recorder:
        tapped = family.encode(pixels)
    assert torch.equal(plain, tapped) and len(compared.apart) == len(layers) and max(compared.apart) < 2e-5
    rows = recorder.rows().image
    assert rows.shape[1] == len(layers) and (rows.sum(-1) - 1).abs().max() < 1e-5
