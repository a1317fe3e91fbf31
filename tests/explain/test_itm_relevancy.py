"""A text's relevancy against eager attention's full weights and gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPModel

from tests.kit.tiny import tiny_blip2, tiny_clip
from vlm_demo import Pipeline
from vlm_demo.errors import UnsupportedModel


def test_clips_relevancy_is_the_class_tokens_row(tmp_path: Path, noise) -> None:
    folder = tiny_clip(tmp_path)
    pipe = Pipeline.from_pretrained(folder)
    plain = CLIPModel.from_pretrained(folder, attn_implementation="eager").eval()
    view = pipe.view(noise(48, 48))
    coded = pipe.scoring.scorer.read(["a red star"])
    seen = plain.vision_model(view.pixel_values, output_attentions=True)
    read = plain.visual_projection(seen.pooler_output)
    text = plain.get_text_features(input_ids=coded.ids, attention_mask=coded.mask).pooler_output
    cosine = torch.nn.functional.cosine_similarity(read, text)[0]
    slopes = torch.autograd.grad(cosine, seen.attentions)
    relevance = torch.eye(17)
    for layer, slope in zip(seen.attentions, slopes, strict=True):
        relevance = relevance + (layer[0].detach() * slope[0]).clamp(min=0).mean(0) @ relevance
    expected = relevance[0, 1:].numpy()
    assert expected.std() > 0
    assert np.allclose(pipe.scoring.relevancy.relevancy(view, "a red star"), expected, atol=1e-4 * expected.max())
    heat = pipe.relevancy(view, "a red star")
    assert heat.shape == (48, 48) and heat.max() == 1
    assert abs(heat - pipe.relevancy(noise(48, 48), "a blue square")).max() > 1e-3
    assert pipe.model.vision_model.config._attn_implementation == "sdpa"


def test_a_model_that_writes_and_compares_has_it_for_its_words(tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(tiny_blip2(tmp_path, heads="together"))
    answer = pipe.ask(noise(60, 60), "How many?", max_new_tokens=3)
    assert pipe.heatmap_methods(answer)["similarity"] is None
    word = answer.words[0]
    cells = pipe.cells(answer, word, method="similarity")
    assert cells.shape == (16,) and cells.min() >= 0 and cells.max() > 0
    assert pipe.grounding(answer).match is not None


def test_a_model_that_only_writes_says_so(pipe: Pipeline, noise) -> None:
    with pytest.raises(UnsupportedModel, match="no part that compares"):
        pipe.relevancy(noise(48, 48), "star")
