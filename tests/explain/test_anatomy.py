"""The anatomy of an answer against plain transformers: hidden states, eager attention, the model's own softmax."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Blip2ForConditionalGeneration, IdeficsForVisionText2Text, LlavaForConditionalGeneration

from tests.kit.tiny import tiny_blip2, tiny_idefics, tiny_llava
from vlm_demo import Pipeline
from vlm_demo.contracts.anatomy import CANDIDATES, TEMPERATURES, Anatomy
from vlm_demo.engines.local import LocalEngine
from vlm_demo.errors import Stopped, VlmDemoError

QUESTION = "How many circles are there?"
EAGER = {"dtype": "auto", "attn_implementation": "eager"}
FAMILIES = {
    "llava": (tiny_llava, LlavaForConditionalGeneration, {}),
    "siglip": (tiny_llava, LlavaForConditionalGeneration, {"tower": "siglip"}),
    "blip2": (tiny_blip2, Blip2ForConditionalGeneration, {}),
    "opt": (tiny_blip2, Blip2ForConditionalGeneration, {"lm": "opt"}),
    "idefics": (tiny_idefics, IdeficsForVisionText2Text, {"interval": 2}),
}


@pytest.fixture(scope="module", params=FAMILIES)
def anatomised(request, tmp_path_factory, noise) -> tuple[Pipeline, Any, Any, Anatomy, Any]:
    """Our pipeline, an answer of it, its anatomy, and the plain model with its output for prompt and answer."""
    make, plain_class, settings = FAMILIES[request.param]
    folder = make(tmp_path_factory.mktemp(request.param), **settings)
    pipe = Pipeline.from_pretrained(folder)
    plain = plain_class.from_pretrained(folder, **EAGER).eval()
    answer = pipe.ask(noise(70, 90), QUESTION, max_new_tokens=4)
    ids = torch.tensor([[*answer.prompt.ids, *(token.id for token in answer.tokens)]])
    pixels = pipe.view(answer.view.image).pixel_values
    given: dict[str, Any] = {"input_ids": ids, "pixel_values": pixels}
    if request.param == "idefics":
        given |= {"pixel_values": pixels[None], "image_attention_mask": torch.ones(1, ids.shape[1], 1)}
    with torch.no_grad():
        out = plain(**given, output_hidden_states=True, output_attentions=True)
    if "language_model_outputs" in out:
        out.hidden_states, out.attentions = (
            out.language_model_outputs.hidden_states,
            out.language_model_outputs.attentions,
        )
    return pipe, answer, pipe.anatomy(answer), plain, out


def places(answer: Any) -> slice:
    start = len(answer.prompt.ids) - 1
    return slice(start, start + len(answer.tokens))


def test_the_last_layer_predicts_what_the_model_predicts(anatomised) -> None:
    pipe, answer, anatomy, _, out = anatomised
    probabilities = out.logits[0, places(answer)].float().softmax(-1)
    assert np.allclose(anatomy.lens.probabilities[-1], probabilities.amax(-1).numpy(), atol=1e-5)
    written = probabilities[range(len(answer.tokens)), [token.id for token in answer.tokens]]
    assert np.allclose(anatomy.lens.written[-1], written.numpy(), atol=1e-5)
    assert anatomy.lens.ids[-1].tolist() == [token.id for token in answer.tokens]  # greedy: each was the likeliest
    assert len(anatomy.lens.texts) == len(anatomy.lens.ids) and all(map(any, zip(*anatomy.lens.texts, strict=True)))


def test_every_layer_predicts_norm_and_head_of_its_hidden_state(anatomised) -> None:
    pipe, answer, anatomy, plain, out = anatomised
    model = plain.model if hasattr(plain, "model") else plain.language_model
    norm = next(m for name, m in model.named_modules() if name.rpartition(".")[2] in ("norm", "final_layer_norm")
                and "layers" not in name and "vision" not in name)  # fmt: skip
    head = plain.get_output_embeddings() or plain.language_model.get_output_embeddings()
    self_attention = [i for i, crossing in enumerate(anatomy.lens.crossing) if not crossing]
    assert len(out.hidden_states) == len(self_attention) + 1
    for layer, states in zip(self_attention[:-1], out.hidden_states[1:-1], strict=True):
        with torch.no_grad():
            probabilities = head(norm(states[0, places(answer)])).float().softmax(-1)
        top = probabilities.max(-1)
        assert np.allclose(anatomy.lens.probabilities[layer], top.values.numpy(), atol=1e-5)
        assert anatomy.lens.ids[layer].tolist() == top.indices.tolist()
        written = probabilities[range(len(answer.tokens)), [token.id for token in answer.tokens]]
        assert np.allclose(anatomy.lens.written[layer], written.numpy(), atol=1e-5)


def test_shares_are_those_of_eager_attention(anatomised) -> None:
    pipe, answer, anatomy, _, out = anatomised
    if not pipe.stages().family.among_words:
        assert anatomy.image_shares is None and any(anatomy.lens.crossing)
        return
    assert anatomy.image_shares.shape == (len(out.attentions), len(answer.tokens))
    for layer, weights in enumerate(out.attentions):
        looked = weights[0, :, places(answer)][..., list(answer.prompt.image_positions)].sum(-1).mean(0)
        assert np.allclose(anatomy.image_shares[layer], looked.numpy(), atol=1e-5)
    # What was recorded while it was written is the same, in half precision.
    assert np.allclose(anatomy.image_shares.T, answer.trace.image.sum(-1, dtype="float32").mean(-1), atol=2e-3)


def test_changes_are_those_of_the_hidden_states(anatomised) -> None:
    pipe, answer, anatomy, _, out = anatomised
    if any(anatomy.lens.crossing):
        assert anatomy.lens.crossing == (True, False, False, True, False, False)[: len(anatomy.lens.crossing)]
        return
    for layer, (given, made) in enumerate(zip(out.hidden_states[:-2], out.hidden_states[1:-1], strict=True)):
        given, made = given[0, places(answer)], made[0, places(answer)]
        assert np.allclose(
            anatomy.changes[layer], ((made - given).norm(dim=-1) / given.norm(dim=-1)).numpy(), rtol=1e-3
        )


def test_the_candidates_are_the_softmax_s_likeliest(anatomised) -> None:
    _, answer, anatomy, _, out = anatomised
    logits = out.logits[0, places(answer)].float()
    found = anatomy.candidates
    assert found.logits.shape == (len(answer.tokens), CANDIDATES)
    assert np.allclose(found.logits, logits.topk(CANDIDATES).values.numpy(), atol=1e-3)
    for i, temperature in enumerate(TEMPERATURES):
        probabilities = (logits / temperature).softmax(-1).topk(CANDIDATES).values.numpy()
        assert np.allclose(np.exp(found.logits / temperature - found.totals[:, i : i + 1]), probabilities, atol=2e-3)
    assert found.ids.tolist() == logits.topk(CANDIDATES).indices.tolist()
    assert [len(row) for row in found.texts] == [CANDIDATES] * len(answer.tokens)


def test_features_are_those_of_encoder_and_bridge_on_the_picture_s_grid(anatomised) -> None:
    pipe, answer, anatomy, plain, _ = anatomised
    family, stages = pipe.stages().family, pipe.stages()
    (before,), (after,) = anatomy.before, anatomy.after
    patches = stages.encoder([pipe.view(answer.view.image)])
    tokens = stages.bridge(patches, prompt=answer.prompt)
    assert before.grid == answer.view.grid
    assert np.allclose(before.values, patches.features[0, family.leading_tokens :].numpy(), atol=1e-5)
    if tokens.patch_weights is None:
        assert after.grid == answer.view.grid
        whole = tokens.embeddings.reshape(-1, tokens.embeddings.shape[-1])
        assert np.allclose(after.values, whole[family.leading_tokens :].numpy(), atol=1e-5)
    else:
        assert after.grid is None and after.values.shape[0] == family.config.num_query_tokens
    assert np.allclose(after.norms, np.sqrt((after.values**2).sum(1)), rtol=1e-5)
    embedded = family.language_model.get_input_embeddings().weight
    text = [id_ for at, id_ in enumerate(answer.prompt.ids) if at not in answer.prompt.image_positions]
    assert np.allclose(anatomy.text_norms, embedded[text].detach().norm(dim=-1).numpy(), rtol=1e-4)


def test_each_picture_has_its_own_features(tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(tiny_llava(tmp_path))
    pictures = [noise(60, 60, 1), noise(60, 90, 2)]
    anatomy = pipe.anatomy(pipe.ask(pictures, QUESTION, max_new_tokens=2))
    alone = [pipe.anatomy(pipe.ask(picture, QUESTION, max_new_tokens=2)) for picture in pictures]
    for part in ("before", "after"):
        for joint, other in zip(getattr(anatomy, part), alone, strict=True):
            assert np.allclose(joint.values, getattr(other, part)[0].values, atol=1e-5)


def test_the_pass_leaves_nothing_behind_and_can_be_stopped(pipe: Pipeline, noise) -> None:
    answer = pipe.ask(noise(70, 90), QUESTION, max_new_tokens=3)
    hooks = sum(len(module._forward_hooks) for module in pipe.model.modules())
    pipe.anatomy(answer)
    with pytest.raises(Stopped):
        LocalEngine(pipe).anatomy(answer, cancelled=lambda: True)
    assert sum(len(module._forward_hooks) for module in pipe.model.modules()) == hooks
    assert pipe.ask(noise(70, 90), QUESTION, max_new_tokens=3).tokens == answer.tokens
    with pytest.raises(VlmDemoError, match="empty"):
        pipe.anatomy(replace(answer, tokens=(), words=(), text=""))
