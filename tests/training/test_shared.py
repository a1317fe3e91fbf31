"""What the recipes have in common: who is trained how, and what the packed questions and the answers' loss are."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from vlm_demo.training import llava, shared
from vlm_demo.training.packing import IGNORED
from vlm_demo.training.shared import BridgedQuestions, Recipe, answer_losses, autocast, groups, word_vectors


def test_every_parameter_is_in_one_group_and_muon_gets_matrices_alone():
    hidden = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    other, loose = nn.Linear(4, 2), nn.Parameter(torch.zeros(3))
    plain, muon = groups([hidden], [other, loose], 1e-3, 2e-3)
    assert [p.shape for p in muon["params"]] == [(4, 4)] and muon["muon"]
    wanted = {id(p) for p in (*hidden.parameters(), *other.parameters(), loose)}
    got = [id(p) for group in (plain, muon) for p in group["params"]]
    assert set(got) == wanted and len(got) == len(wanted)


@pytest.mark.parametrize("image_tokens", [1, 32])
def test_questions_are_packed_for_the_bridges_image_tokens(tmp_path, tokenizer, image_tokens):
    batch = next(iter(BridgedQuestions(3, 0, tokenizer, tmp_path, image_tokens)))
    image = tokenizer.convert_tokens_to_ids("<image>")
    assert ((batch["ids"] == image).sum(1) == image_tokens).all()
    assert len(batch["pixels"]) == len(batch["ids"]) and (batch["labels"] != IGNORED).any(1).all()
    again = next(iter(BridgedQuestions(3, 0, tokenizer, tmp_path, image_tokens)))
    assert all(torch.equal(batch[key], again[key]) for key in batch)


def test_answers_cost_what_cross_entropy_says_where_they_are_asked():
    torch.manual_seed(0)
    head, hidden = nn.Linear(4, 6), torch.randn(1, 3, 4)
    batch = {
        "ids": torch.zeros(1, 3, dtype=torch.int64),
        "labels": torch.tensor([[IGNORED, 5, 2]]),
        "weights": torch.tensor([[0.0, 1.0, 3.0]]),
    }
    each = functional.cross_entropy(head(hidden[0, 1:]), torch.tensor([5, 2]), reduction="none")
    losses = answer_losses(hidden, head, batch)
    torch.testing.assert_close(losses["total"], (each[0] + 3 * each[1]) / 4)
    assert losses["examples"] == 1


def test_words_begin_as_the_language_model_has_them(tokenizer):
    model = llava.build(tokenizer)
    known = model.get_input_embeddings().weight
    made = word_vectors(model, len(known) + 1)
    assert made.shape == (len(known) + 1, known.shape[1]) and float(made.std()) == pytest.approx(0.02, rel=0.1)
    cosine = functional.cosine_similarity(made[1:-1], known[1:], dim=-1)  # the first is the padding, all zero
    torch.testing.assert_close(cosine, torch.ones_like(cosine), atol=1e-4, rtol=0)


def test_a_stage_trains_its_groups_and_nothing_else(tmp_path):
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    before = {key: value.clone() for key, value in module.state_dict().items()}

    def loss_of(batch):
        return {"total": module(batch).square().mean(), "examples": torch.tensor(len(batch))}

    recipe = Recipe(tmp_path, 0.02, False, {"one": 1.0, "two": 1.0})
    plain = [{"params": list(module[1].parameters()), "lr": 1e-2}]
    recipe.stage("one", {"module": module}, plain, lambda _at: iter(lambda: torch.ones(4, 2), None), loss_of)
    moved = {key for key, value in module.state_dict().items() if not torch.equal(before[key], value)}
    assert moved == {"1.weight", "1.bias"} and recipe.done["one"]["trainable"] == 3
    assert recipe.done["one"]["seconds"] <= 2


def test_what_was_taken_over_is_remembered(tmp_path, tokenizer):
    config = llava.build(tokenizer).config
    shared.remember(tmp_path, config, tokenizer)
    again, words = shared.remembered(tmp_path)
    assert (
        again.vision_config.to_dict() == config.vision_config.to_dict() and words.get_vocab() == tokenizer.get_vocab()
    )


@pytest.mark.parametrize(
    ("has", "dtype"), [("avx512_bf16", torch.bfloat16), ("amx_bf16", torch.bfloat16), ("avx2", torch.float32)]
)
def test_bf16_is_taken_where_the_processor_has_it(monkeypatch, has, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "sse": True, has: True})
    with autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
