"""Teacher-forced passes against plain transformers' eager attention, gradients, hidden states and pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from transformers import Blip2ForConditionalGeneration, IdeficsForVisionText2Text, LlavaForConditionalGeneration

from tests.kit.tiny import tiny_blip2, tiny_idefics, tiny_llava
from vlm_demo import Pipeline, Turn
from vlm_demo.contracts import Conversation, OcrResult, OcrWord
from vlm_demo.errors import VlmDemoError
from vlm_demo.explain.methods import flow
from vlm_demo.explain.methods.activation import unexplained
from vlm_demo.images.hide import BLUR

QUESTION = "How many circles are there?"
EAGER = {"dtype": "auto", "attn_implementation": "eager"}


@pytest.fixture(scope="module")
def llava(checkpoint: Path, pipe: Pipeline, noise) -> tuple[Pipeline, Any, Any]:
    """Our pipeline, plain transformers, and an answer of ours."""
    plain = LlavaForConditionalGeneration.from_pretrained(checkpoint, **EAGER).eval()
    return pipe, plain, pipe.ask(noise(70, 90), QUESTION, max_new_tokens=4)


def pixels_of(pipe: Pipeline, answer: Any) -> torch.Tensor:
    return pipe.view(answer.view.image).pixel_values


def ids_of(answer: Any) -> torch.Tensor:
    return torch.tensor([[*answer.prompt.ids, *(token.id for token in answer.tokens)]])


def test_rollout_is_the_product_of_eagers_matrices(llava) -> None:
    pipe, plain, answer = llava
    with torch.no_grad():
        out = plain(input_ids=ids_of(answer), pixel_values=pixels_of(pipe, answer), output_attentions=True)
    through = torch.eye(ids_of(answer).shape[1])
    for layer in out.attentions:
        through = (0.5 * layer[0].mean(0) + 0.5 * torch.eye(len(through))) @ through
    for step in (0, 2):
        row = through[len(answer.prompt.ids) - 1 + step, list(answer.prompt.image_positions)]
        assert np.allclose(pipe.cells(answer, step, method="rollout"), row.numpy(), atol=1e-5)


def test_a_method_that_would_fill_the_memory_says_so(llava, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, plain, answer = llava
    text = plain.config.text_config
    whole = 4 * text.num_hidden_layers * text.num_attention_heads * ids_of(answer).shape[1] ** 2
    monkeypatch.setattr(flow, "MOST_BYTES", whole)
    assert pipe.cells(answer, 0, method="rollout").any()
    with pytest.raises(VlmDemoError, match="all attention matrices take"):
        pipe.cells(answer, 0, method="relevancy")
    monkeypatch.setattr(flow, "MOST_BYTES", whole // 2)
    with pytest.raises(VlmDemoError, match="all attention matrices take"):
        pipe.cells(answer, 0, method="rollout")


def test_relevancy_is_gradient_times_attention_of_eager(llava) -> None:
    pipe, plain, answer = llava
    out = plain(input_ids=ids_of(answer), pixel_values=pixels_of(pipe, answer), output_attentions=True)
    for step in (0, 2):
        place = len(answer.prompt.ids) - 1 + step
        logit = out.logits[0, place, answer.tokens[step].id]
        slopes = torch.autograd.grad(logit, out.attentions, retain_graph=True)
        relevance = torch.eye(ids_of(answer).shape[1])
        for layer, slope in zip(out.attentions, slopes, strict=True):
            relevance = relevance + (layer[0].detach() * slope[0]).clamp(min=0).mean(0) @ relevance
        row = relevance[place, list(answer.prompt.image_positions)].numpy()
        assert row.std() > 1e-6
        assert np.allclose(pipe.cells(answer, step, method="relevancy"), row, atol=1e-3 * row.max())


def test_relevancy_through_cross_attention(tmp_path: Path, noise) -> None:
    folder = tiny_idefics(tmp_path, interval=2)
    pipe = Pipeline.from_pretrained(folder)
    plain = IdeficsForVisionText2Text.from_pretrained(folder, **EAGER).eval()
    answer = pipe.ask(noise(70, 90), QUESTION, max_new_tokens=3)
    ids = ids_of(answer)
    order: list[tuple[bool, torch.Tensor]] = []
    for layer in plain.model.gated_cross_attn_layers:
        layer.cross_attn.register_forward_hook(lambda _m, _i, output: order.append((True, output[1])))
    for layer in plain.model.layers:
        layer.self_attn.register_forward_hook(lambda _m, _i, output: order.append((False, output[1])))
    seen = torch.ones(1, ids.shape[1], 1)
    out = plain(input_ids=ids, pixel_values=pixels_of(pipe, answer)[None], image_attention_mask=seen)
    assert [crossing for crossing, _ in order] == [True, False, False, True, False, False]
    place = len(answer.prompt.ids)  # of the second token
    slopes = torch.autograd.grad(out.logits[0, place, answer.tokens[1].id], [weights for _, weights in order])
    words, picture = torch.eye(ids.shape[1]), torch.zeros(ids.shape[1], 17)
    for (crossing, weights), slope in zip(order, slopes, strict=True):
        joined = (weights[0].detach() * slope[0]).clamp(min=0).mean(0)
        if crossing:
            picture = picture + joined
        else:
            words, picture = words + joined @ words, picture + joined @ picture
    row = picture[place, 1:].numpy()
    assert row.std() > 1e-7
    assert np.allclose(pipe.cells(answer, 1, method="relevancy"), row, atol=1e-3 * row.max())


def test_rollout_through_queries_ends_on_the_patches_that_they_saw(tmp_path: Path, noise) -> None:
    folder = tiny_blip2(tmp_path)
    pipe = Pipeline.from_pretrained(folder)
    plain = Blip2ForConditionalGeneration.from_pretrained(folder, **EAGER).eval()
    answer = pipe.ask(noise(70, 90), QUESTION, max_new_tokens=3)
    with torch.no_grad():
        out = plain(input_ids=ids_of(answer), pixel_values=pixels_of(pipe, answer), output_attentions=True)
        features = plain.vision_model(pixels_of(pipe, answer)).last_hidden_state
        queried = plain.qformer(query_embeds=plain.query_tokens, encoder_hidden_states=features, output_attentions=True)
    through = torch.eye(ids_of(answer).shape[1])
    for layer in out.language_model_outputs.attentions:
        through = (0.5 * layer[0].mean(0) + 0.5 * torch.eye(len(through))) @ through
    row = through[len(answer.prompt.ids) - 1, list(answer.prompt.image_positions)]
    patch_weights = torch.stack(queried.cross_attentions).mean((0, 2))[0]
    expected = (row @ patch_weights)[1:].numpy()
    assert np.allclose(pipe.cells(answer, 0, method="rollout"), expected, rtol=2e-2, atol=1e-5)


def test_logits_of_image_tokens_are_plain_transformers(llava) -> None:
    pipe, plain, answer = llava
    with torch.no_grad():
        logits = plain(input_ids=ids_of(answer), pixel_values=pixels_of(pipe, answer)).logits[0]
    wanted = [answer.tokens[1].id, 7]
    found = pipe.stages().teacher_forcing.logits(pipe.stages().teacher_forcing.hidden(answer), wanted)
    assert np.allclose(found, logits[:-1, wanted].numpy(), atol=1e-3)
    assert pipe.cells(answer, 1, method="activation").shape == (16,)


def test_what_an_earlier_word_activates_is_subtracted() -> None:
    picture = np.array([1.0, 5.0, 1.0, 3.0])
    earlier = np.array([[0.0, 10.0, 0.0, 0.0], [0.0, 0.0, -2.0, 0.0]]).T
    assert unexplained(picture, earlier, np.array([2.0, 0.0])).tolist() == [1, 0, 1, 3]
    assert unexplained(picture, earlier, np.array([-2.0, -1.0])).tolist() == picture.tolist()
    assert unexplained(-picture, earlier[:, :0], np.zeros(0)).tolist() == [0, 0, 0, 0]


def test_likelihoods_are_those_of_the_picture_with_blurred_patches(llava) -> None:
    pipe, plain, answer = llava
    masks = np.zeros((3, 16), bool)
    masks[1, [5, 10]] = masks[2] = True
    found = pipe.likelihoods(answer, masks)
    image = answer.view.image
    blurred = pipe.view(image.filter(ImageFilter.GaussianBlur(BLUR * max(image.size)))).pixel_values
    some = pixels_of(pipe, answer).clone()
    for row, column in ((1, 1), (2, 2)):
        part = (..., slice(12 * row, 12 * row + 12), slice(12 * column, 12 * column + 12))
        some[part] = blurred[part]
    tokens = [token.id for token in answer.tokens]
    for logprobs, pixels in zip(found, (pixels_of(pipe, answer), some, blurred), strict=True):
        with torch.no_grad():
            logits = plain(input_ids=ids_of(answer), pixel_values=pixels).logits[0].log_softmax(-1)
        begin = len(answer.prompt.ids) - 1
        expected = [logits[begin + i, token].item() for i, token in enumerate(tokens)]
        assert logprobs == pytest.approx(expected, abs=1e-3)
    assert np.exp(found[0]) == pytest.approx([token.probability for token in answer.tokens], abs=1e-3)
    assert abs(found[1] - found[0]).max() > 1e-3


@pytest.mark.parametrize("make", [tiny_llava, tiny_blip2, tiny_idefics])
def test_hiding_in_one_of_several_pictures_leaves_the_others(tmp_path: Path, noise, make: Any) -> None:
    pipe = Pipeline.from_pretrained(make(tmp_path))
    answer = pipe.ask([noise(60, 60, 1), noise(60, 90, 2)], QUESTION, max_new_tokens=3)
    nothing, everything = np.zeros((1, 16), bool), np.ones((1, 16), bool)
    logprobs = pipe.likelihoods(answer, np.concatenate([nothing, everything, nothing]), image=1)
    assert np.exp(logprobs[0]) == pytest.approx([token.probability for token in answer.tokens], abs=1e-3)
    assert logprobs[0] == pytest.approx(logprobs[2], abs=1e-5) and abs(logprobs[1] - logprobs[0]).max() > 1e-4
    other = pipe.likelihoods(answer, everything, image=0)
    assert abs(other - logprobs[1]).max() > 1e-4


def test_a_pass_changes_neither_the_answer_nor_what_is_recorded(pipe: Pipeline, noise) -> None:
    picture = noise(80, 60)
    before = pipe.ask(picture, QUESTION, max_new_tokens=5)
    reasons = pipe.heatmap_methods(before)
    for name, reason in reasons.items():
        if reason is None:
            heat = pipe.heatmap(before, 1, method=name)
            assert heat.shape == (60, 80) and heat.dtype == np.float32 and heat.min() >= 0 and heat.max() <= 1
    assert [name for name, reason in reasons.items() if reason] == ["heads", "weighted", "queries", "similarity"]
    after = pipe.ask(picture, QUESTION, max_new_tokens=5)
    assert after.tokens == before.tokens and (after.trace.image == before.trace.image).all()
    assert not hasattr(before.view, "pixel_values")  # the geometry leaves the pipeline, and no tensor


def test_what_a_family_cannot_offer_is_one_sentence(tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(tiny_idefics(tmp_path))
    answer = pipe.ask(noise(60, 60), QUESTION, max_new_tokens=2)
    with pytest.raises(VlmDemoError, match="no part of the text"):
        pipe.heatmap(answer, 0, method="activation")
    assert pipe.heatmap(answer, 0, method="rollout").max() == 1


def test_other_text_and_blank_pictures_are_those_of_another_prompt_and_another_picture(llava, noise) -> None:
    pipe, plain, _ = llava
    read = OcrResult(
        "TOTAL 12.50\nshop", tuple(OcrWord(w, (0, 0, 9, 9), 90.0) for w in "TOTAL 12.50 shop".split()), 0.1
    )
    picture = noise(70, 90)
    conversation = Conversation(QUESTION, True, (Turn("What is it?", "a star", (None,)),))
    given = pipe.ask(
        [], QUESTION, evidence_only=True, history=[Turn("What is it?", "a star", (picture,))], max_new_tokens=4
    )
    assert given.conversation == conversation
    given = replace(given, ocrs=(read,), prompt=pipe.stages().build_prompt(conversation, given.views, (read,)))
    left = replace(read, text="TOTAL\nshop", words=(read.words[0], read.words[2]))
    mean = Image.new("RGB", picture.size, tuple(picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))))
    for ocrs, blank, text in ((given.ocrs, False, read.text), ((left,), False, left.text), ((), True, "")):
        prompt = pipe.stages().prompt(QUESTION, [16], ocr_text=text, evidence_only=True, history=conversation.history)
        view = pipe.view(mean if blank else given.view.image)
        tokens = [token.id for token in given.tokens]
        with torch.no_grad():
            ids = torch.tensor([[*prompt.ids, *tokens]])
            logits = plain(input_ids=ids, pixel_values=view.pixel_values).logits[0].log_softmax(-1)
        rows = logits[len(prompt.ids) - 1 : -1]
        found = pipe.stages().teacher_forcing.with_other_text(given, ocrs, blank)
        assert found.logprobs[0] == pytest.approx(rows[range(len(tokens)), tokens].tolist(), abs=1e-3)
        assert found.likeliest[0].tolist() == [
            int(row.argmax()) == token for row, token in zip(rows, tokens, strict=True)
        ]


@pytest.mark.parametrize("make", [tiny_blip2, tiny_idefics])
def test_every_way_into_the_language_model_can_be_blank(tmp_path: Path, noise, make: Any) -> None:
    pipe = Pipeline.from_pretrained(make(tmp_path))
    answer = pipe.ask([noise(60, 60, 1), noise(60, 90, 2)], QUESTION, max_new_tokens=3)
    written = np.log([token.probability for token in answer.tokens])
    assert pipe.stages().teacher_forcing.with_other_text(answer, ()).logprobs[0] == pytest.approx(written, abs=1e-3)
    assert abs(pipe.stages().teacher_forcing.with_other_text(answer, (), blank=True).logprobs[0] - written).max() > 1e-4
