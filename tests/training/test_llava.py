"""The recipe runs through, each stage trains what it says it trains, and what it saved can be gone on from."""

import pytest
import torch
from transformers import AutoModelForImageTextToText

from vlm_demo.training import llava
from vlm_demo.training.patches import GRID, IMAGE_SIZE, PATCH_SIZE
from vlm_demo.training.tokenizer import train_tokenizer

PARTS = {"vision_tower": "vit", "projector": "bridge", "language_model": "writer", "lm_head": "writer"}


def _state(folder, name):
    return torch.load(folder / f"{name}.pt", weights_only=True)["model"]


def _changed(before, after):
    differ = [key for key in after if not torch.equal(before[key], after[key])]
    return {part for key in differ for name, part in PARTS.items() if name in key}


@pytest.fixture(scope="module")
def run(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("llava")
    tokenizer.save_pretrained(folder / "tokenizer")
    done = llava.train(folder, 0.2, 3, "cpu", 1, resume=False)
    return folder, done


def test_every_stage_trains_its_own_part_alone(run):
    folder, done = run
    assert list(done) == list(llava.SHARES) and all(stage["steps"] for stage in done.values())
    assert _changed(_state(folder, "read"), _state(folder, "align")) == {"bridge"}
    assert _changed(_state(folder, "align"), _state(folder, "tune")) == {"vit", "bridge", "writer"}
    vit = torch.load(folder / "vit.pt", weights_only=True)["vit"]
    seen = {key.split("vision_tower.")[1]: value for key, value in _state(folder, "align").items() if "tower" in key}
    assert all(torch.equal(value, vit[key]) for key, value in seen.items())


def test_a_saved_checkpoint_is_transformers_own_and_can_be_gone_on_from(run, tmp_path):
    folder, _ = run
    model, tokenizer = llava.load_latest(folder, 3)
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), _state(folder, "tune").values(), strict=True)
    )
    llava.save(model, tokenizer, tmp_path / "out")
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    assert plain.config.vision_config.image_size == IMAGE_SIZE
    assert plain.config.image_seq_length == (IMAGE_SIZE // PATCH_SIZE) ** 2
    done = llava.train(tmp_path / "next", 0.05, 3, "cpu", 1, False, tmp_path / "out", ("align",), bridge="linear")
    assert list(done) == ["align"]
    begun, state = plain.state_dict(), _state(tmp_path / "next", "align")
    same = [key for key in state if torch.allclose(begun[key].float(), state[key], atol=1e-6)]
    assert {part for key in same for name, part in PARTS.items() if name in key} == {"vit", "writer"}
    assert llava.build(tokenizer, "linear").config.projector_hidden_act == "linear"


def test_a_checkpoint_without_marks_gets_them_and_may_keep_its_encoder(run, tokenizer, tmp_path):
    folder, _ = run
    model, _ = llava.load_latest(folder, 3)
    plain = train_tokenizer(seed=1, pictures=60)
    rows = len(plain)
    model.resize_token_embeddings(rows, mean_resizing=False)
    llava.save(model, plain, tmp_path / "old")
    done = llava.train(tmp_path / "next", 0.05, 3, "cpu", 1, False, tmp_path / "old", ("tune",), keep_encoder=True)
    assert done["tune"]["steps"]
    trained, known = llava.load_latest(tmp_path / "next", 3)
    assert known.get_vocab() == tokenizer.get_vocab()
    assert _changed(model.float().state_dict(), trained.state_dict()) == {"bridge", "writer"}


def test_a_blend_is_the_mean_of_the_weights_before_and_after(run, tmp_path):
    folder, _ = run
    llava.save(*llava.load_latest(folder, 3), tmp_path / "out")
    before = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", dtype=torch.float32).state_dict()
    options = {"start": tmp_path / "out", "stages": ("tune",), "steps": 1}
    llava.train(tmp_path / "next", 0.05, 3, "cpu", 1, False, **options, blend=True)
    llava.train(tmp_path / "next", 0.05, 3, "cpu", 1, True, **options, blend=True)  # as it was interrupted
    blended, trained = llava.load_latest(tmp_path / "next", 3)[0].state_dict(), _state(tmp_path / "next", "tune")
    assert _changed(before, trained) == {"vit", "bridge", "writer"}
    for key, weights in blended.items():
        torch.testing.assert_close(weights, (before[key] + trained[key]) / 2)
    llava.train(tmp_path / "next", 0.05, 3, "cpu", 1, False, **options)  # another run, not to be blended
    alone, trained = llava.load_latest(tmp_path / "next", 3)[0].state_dict(), _state(tmp_path / "next", "tune")
    assert all(torch.equal(weights, trained[key]) for key, weights in alone.items())


@torch.no_grad()
def test_a_mark_begins_as_what_the_image_tokens_of_its_patch_have_in_common(tokenizer):
    torch.manual_seed(0)
    model = llava.build(tokenizer)
    words = model.get_input_embeddings().weight
    others, spread = words[: -GRID * GRID].clone(), words.std()
    pixels = torch.randn(8, 3, IMAGE_SIZE, IMAGE_SIZE)
    llava.give_places(model, tokenizer, pixels)
    image_tokens = model.get_image_features(pixel_values=pixels).pooler_output
    told = torch.stack(list(image_tokens)).mean(0)
    marks = words[[tokenizer.convert_tokens_to_ids(f"<|at{patch}|>") for patch in range(GRID * GRID)]]
    assert torch.equal(words[: -GRID * GRID], others)
    assert abs(float(marks.std() / spread) - 1) < 0.05
    near = torch.nn.functional.cosine_similarity(marks[:, None], (told - told.mean(0))[None], dim=-1)
    assert torch.equal(near.argmax(1), torch.arange(GRID * GRID))
