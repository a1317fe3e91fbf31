"""CLIP reads a text at its closing token, tells captions apart, and trains the layers that it says."""

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel, CLIPVisionConfig

from vlm_demo.training import clip, llava
from vlm_demo.training.patches import as_pixel_values, model_pixels


@pytest.fixture
def closing(tokenizer):
    return clip.closing_tokenizer(tokenizer)


@pytest.fixture
def model(closing):
    torch.manual_seed(0)
    small = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    return clip.build(closing, CLIPVisionConfig(**small, image_size=32, patch_size=16)).eval()


def test_a_text_closes_with_a_token_of_its_own(closing, tokenizer):
    assert closing.eos_token_id not in (2, *tokenizer.get_vocab().values())
    ids = closing(["a red circle", "a star"], padding=True).input_ids
    plain = tokenizer("a red circle", add_special_tokens=False).input_ids
    assert ids[0] == [1, *plain, closing.eos_token_id]
    assert ids[1][-1] == closing.pad_token_id and len(ids[1]) == len(ids[0])


@torch.no_grad()
def test_captions_that_differ_have_other_features_and_padding_changes_none(model, closing):
    assert model.text_model.eos_token_id != 2
    texts = ["a red circle", "a blue circle", "a red circle and a star"]
    batch = closing(texts, padding=True, return_tensors="pt")
    together = model.get_text_features(batch.input_ids, batch.attention_mask).pooler_output
    assert all((together[i] - together[j]).abs().max() > 1e-3 for i, j in ((0, 1), (0, 2), (1, 2)))
    for text, features in zip(texts, together, strict=True):
        alone = model.get_text_features(closing(text, return_tensors="pt").input_ids).pooler_output[0]
        torch.testing.assert_close(features, alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_text_is_read_at_its_end(model, closing):
    """What stands before the end is seen by it, so that no token but the closing one needs to be read."""
    ids = closing("a red circle and a star", return_tensors="pt").input_ids
    out = model.text_model(ids)
    torch.testing.assert_close(out.pooler_output, out.last_hidden_state[:, -1])
    ids[0, 2] = ids[0, 1]
    assert (model.text_model(ids).pooler_output - out.pooler_output).abs().max() > 1e-4


def test_planted_pictures_find_their_captions(model, closing):
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
    names = list(colours)
    texts = [f"all {said}" for i, name in enumerate(names) for said in (name, names[i - 1])]
    ids = closing(texts, padding=True, return_tensors="pt").input_ids.reshape(4, 2, -1)
    batch = {
        "pixels": torch.stack([torch.tensor(rgb).expand(32, 32, 3) for rgb in colours.values()]).to(torch.uint8),
        "full": ids,
        "claims": ids[:, None],
        "same": torch.eye(4, dtype=torch.bool),
        "area": torch.zeros(4, dtype=torch.int64),
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, fused=True)
    for _ in range(30):
        losses = clip.itc_loss(batch, model, "cpu")
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    assert losses["apart"] == losses["found"] == 1 and losses["full"] < 0.3


def test_the_recipe_trains_the_last_layers_and_resumes(tmp_path, tokenizer, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(clip, "BATCH", 4)
    start = tmp_path / "start"
    llava.save(llava.build(tokenizer), tokenizer, start)
    done = clip.train(tmp_path, 0.08, 3, "cpu", 1, False, start)
    model, _ = clip.load_latest(tmp_path)
    shared, _ = clip.load(start)
    before, after = shared.model.vision_tower.state_dict(), model.vision_model.state_dict()
    moved = {key.split("self_attn")[0].split("mlp")[0] for key in after if not torch.equal(before[key], after[key])}
    layers = model.config.vision_config.num_hidden_layers
    assert {key.split(".")[2] for key in moved if "layers." in key} == {str(layers - 2), str(layers - 1)}
    assert not any("embed" in key or "pre_" in key for key in moved)
    assert done["itc"]["steps"] and 0 < done["itc"]["trainable"] < sum(p.numel() for p in model.parameters())
    assert model.logit_scale.exp() <= 100.01
    assert clip.train(tmp_path, 0.08, 3, "cpu", 1, True, start) == done


@torch.no_grad()
def test_a_saved_checkpoint_scores_in_plain_transformers(model, closing, tmp_path):
    clip.save(model, closing, tmp_path)
    plain, tokenizer = CLIPModel.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    texts = tokenizer(["a red circle", "a star"], padding=True, return_tensors="pt")
    assert texts.input_ids.tolist() == closing(["a red circle", "a star"], padding=True).input_ids
    values = torch.randn(1, 3, 32, 32)
    out = plain(**texts, pixel_values=values)
    torch.testing.assert_close(out.logits_per_image, model(**texts, pixel_values=values).logits_per_image)
    picture = Image.new("RGB", (50, 30), (200, 20, 20))
    seen = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(picture, return_tensors="pt").pixel_values
    wanted = as_pixel_values(torch.from_numpy(model_pixels(picture).copy())[None])
    torch.testing.assert_close(seen, wanted, atol=1e-5, rtol=0)
