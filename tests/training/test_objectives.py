"""The three losses equal what is computed by hand, by plain loops, and by transformers."""

import math

import numpy as np
import pytest
import torch
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    CLIPConfig,
    CLIPModel,
    LlamaConfig,
)

from vlm_demo.training import objectives


def _looped(similarity, scale, same=None, wrong=None):
    """The formula of the docstring, term by term."""
    total, n = 0.0, len(similarity)
    for i in range(n):
        texts = [similarity[i, j] for j in range(n) if j == i or same is None or not same[i, j]]
        pictures = [similarity[j, i] for j in range(n) if j == i or same is None or not same[j, i]]
        texts += [] if wrong is None else list(wrong[i])
        for among in (texts, pictures):
            total += math.log(sum(math.exp(scale * s) for s in among)) - scale * similarity[i, i]
    return total / (2 * n)


def test_itc_by_hand():
    """Two pairs, own similarity 1, others 0, scale log 3: each softmax is 3 against 1."""
    loss = objectives.itc(torch.eye(2), math.log(3))
    assert float(loss) == pytest.approx(math.log(4 / 3))
    apart = torch.tensor([[False, True], [True, False]])
    assert float(objectives.itc(torch.eye(2), math.log(3), same=apart)) == pytest.approx(0)
    wrong = torch.full((2, 1), 1.0)  # as like as the true one: 3 of 3 + 1 + 3 for pictures, 3 of 4 for texts
    expected = (math.log(7 / 3) + math.log(4 / 3)) / 2
    assert float(objectives.itc(torch.eye(2), math.log(3), wrong=wrong)) == pytest.approx(expected)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_wrong", [False, True])
def test_itc_equals_the_formula_looped(masked, with_wrong):
    rng = np.random.default_rng(0)
    similarity, wrong = rng.uniform(-1, 1, (6, 6)), rng.uniform(-1, 1, (6, 2)) if with_wrong else None
    same = rng.random((6, 6)) < 0.3 if masked else None
    loss = objectives.itc(
        torch.tensor(similarity),
        14.3,
        None if same is None else torch.tensor(same),
        None if wrong is None else torch.tensor(wrong),
    )
    assert float(loss) == pytest.approx(_looped(similarity, 14.3, same, wrong), rel=1e-4)


def test_itc_is_what_transformers_computes_for_clip():
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = tower | {"vocab_size": 20, "eos_token_id": 3, "max_position_embeddings": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=tower | {"image_size": 16, "patch_size": 8})).eval()
    ids = torch.tensor([[1, 5, 3], [1, 6, 3], [1, 7, 3]])
    out = model(input_ids=ids, pixel_values=torch.randn(3, 3, 16, 16), return_loss=True)
    mine = objectives.itc(objectives.similarities(out.image_embeds, out.text_embeds), model.logit_scale.exp())
    torch.testing.assert_close(mine, out.loss)


def test_the_best_query_counts_as_in_transformers():
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Blip2Config(
        vision_config=small | {"image_size": 16, "patch_size": 8, "initializer_range": 0.1},
        qformer_config=small | {"vocab_size": 20, "use_qformer_text_input": True},
        text_config=LlamaConfig(vocab_size=20, **small),
        num_query_tokens=3,
        image_text_hidden_size=16,
    )
    model = Blip2ForImageTextRetrieval(config).eval()
    torch.nn.init.normal_(model.query_tokens)
    ids = torch.tensor([[1, 5, 3], [1, 6, 3]])
    out = model(torch.randn(2, 3, 16, 16), ids, torch.ones_like(ids))
    mine = objectives.similarities(out.image_embeds, out.text_embeds)
    torch.testing.assert_close(mine, out.logits_per_image)
    own = objectives.own_similarities(out.image_embeds, out.text_embeds[None].expand(2, 2, -1))
    torch.testing.assert_close(own, out.logits_per_image)


def test_the_scale_stays_at_100_and_can_come_down_again():
    temperature = objectives.Temperature()
    temperature.log_scale.data.fill_(9.0)
    scale = temperature()
    assert scale.item() == pytest.approx(100, rel=1e-4)
    scale.backward()
    assert float(temperature.log_scale.grad) > 0


def test_itm_by_hand():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    loss = objectives.itm(logits, torch.tensor([True, False]))
    assert float(loss) == pytest.approx((math.log(4 / 3) + math.log(4)) / 2, rel=1e-5)


def test_hard_negatives_come_in_proportion_to_likeness_and_are_never_true():
    similarity = torch.tensor([[1.0, 0.2, 0.5, 0.9], [0.0, 1.0, 0.0, 0.0], [0.0] * 4, [0.0] * 4])
    same = torch.tensor([[1, 0, 0, 1], [1, 1, 1, 1], [0] * 4, [0] * 4], dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([objectives.hard_negatives(similarity, 5.0, same, generator) for _ in range(4000)])
    first = torch.bincount(drawn[:, 0], minlength=4) / len(drawn)
    assert first[0] == first[3] == 0 and (drawn[:, 1] == -1).all()
    assert float(first[2] / first[1]) == pytest.approx(math.exp(5 * 0.3), rel=0.15)
    assert set(drawn[:, 2].tolist()) == {0, 1, 3}


def test_lm_counts_only_what_is_asked():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]]))
    labels = torch.tensor([[0, objectives.IGNORED, 2]])
    assert float(objectives.lm(logits, labels)) == pytest.approx(-(math.log(0.5) + math.log(0.6)) / 2, rel=1e-5)
    weighted = objectives.lm(logits, labels, torch.tensor([[3.0, 5.0, 1.0]]))
    assert float(weighted) == pytest.approx(-(3 * math.log(0.5) + math.log(0.6)) / 4, rel=1e-5)
    assert float(objectives.lm(logits, torch.full((1, 3), objectives.IGNORED))) == 0
