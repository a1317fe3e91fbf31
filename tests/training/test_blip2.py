"""Who sees whom in the Q-Former, what its passes have to do with transformers' own, and that the recipe runs."""

import copy
import math

import pytest
import torch
import transformers
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig

from vlm_demo.synthetic.world import TRAITS
from vlm_demo.training import blip2, llava, objectives, qformer, shared
from vlm_demo.training.blip2 import refold
from vlm_demo.training.patches import COLOUR_INDEX, as_pixel_values
from vlm_demo.training.qformer import additive, cell_gaze, cell_words, cells, side_by_side, who_sees_whom
from vlm_demo.training.start import prepare
from vlm_demo.training.words import PatchWords

SMALL = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture
def model(tokenizer, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(qformer, "LAYERS", 2)
    vision = CLIPVisionConfig(**SMALL, image_size=32, patch_size=16)
    text = LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, **SMALL)
    made = qformer.build(tokenizer, vision, text).eval()
    # Larger weights than untrained ones have, so that what is seen shows.
    for parameter in made.retrieval.qformer.parameters():
        if parameter.ndim == 2:
            parameter.data.mul_(4)
    torch.nn.init.normal_(made.retrieval.query_tokens)
    return made


@pytest.fixture
def features():
    return torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(1))


IDS = torch.tensor([[1, 20, 30, 40, 2]])


def _changed_at(place):
    ids = IDS.clone()
    ids[..., place] = 50
    return ids


def _differs(one, two):
    """Which positions differ, of [1, …, n, d]."""
    return ((one - two).abs().amax(-1) > 1e-5).flatten().tolist()


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_under_the_lm_mask_a_later_token_changes_no_query_and_no_earlier_token(model, features, attention):
    model.retrieval.set_attn_implementation(attention)
    queries, (texts,) = model.joint(features, [IDS], ("lm",))
    again, (told,) = model.joint(features, [_changed_at(3)], ("lm",))
    assert _differs(queries, again) == [False] * qformer.QUERIES
    assert _differs(texts, told) == [False, False, False, True, True]


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_under_the_itc_mask_text_and_picture_know_nothing_of_one_another(model, features, attention):
    model.retrieval.set_attn_implementation(attention)
    queries, (texts,) = model.joint(features, [IDS], ("itc",))
    again, (told,) = model.joint(features, [_changed_at(3)], ("itc",))
    assert _differs(queries, again) == [False] * qformer.QUERIES and all(_differs(texts, told))
    _, (elsewhere,) = model.joint(features + 1, [IDS], ("itc",))
    assert not any(_differs(texts, elsewhere))
    torch.testing.assert_close(queries[:, 0], model.queried(features), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(texts, model.read(IDS), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_under_the_itm_mask_all_see_all(model, features):
    queries, (texts,) = model.joint(features, [IDS], ("itm",))
    again, (told,) = model.joint(features, [_changed_at(4)], ("itm",))
    assert all(_differs(queries, again)) and all(_differs(texts, told))


@torch.no_grad()
def test_groups_side_by_side_are_as_if_alone(model, features):
    kinds = ("itm", "lm", "itc")
    ids = [IDS, _changed_at(2), torch.tensor([[1, 7, 2, 0]])]
    queries, texts = model.joint(features, ids, kinds)
    for i, kind in enumerate(kinds):
        alone, (told,) = model.joint(features, ids[i : i + 1], (kind,))
        torch.testing.assert_close(queries[:, i], alone[:, 0], atol=1e-4, rtol=1e-4)
        real = ids[i] != 0
        torch.testing.assert_close(texts[i][real], told[real], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_itc_and_itm_are_what_transformers_computes(model):
    parts = model.retrieval
    values = torch.randn(2, 3, 32, 32)
    features = parts.vision_model(values).last_hidden_state
    ids = torch.tensor([[1, 20, 30, 2], [1, 40, 2, 0]])
    image = torch.full((2, qformer.QUERIES), model.generator.config.image_token_id)
    prompt = torch.cat([image, ids], 1)
    mask = torch.cat([torch.ones_like(image), (ids != 0).long()], 1)
    theirs = parts(values, prompt, mask)
    queries, (texts,) = model.joint(features, [ids], ("itc",))
    pictures, told = parts.vision_projection(queries[:, 0]), parts.text_projection(texts[:, 0])
    torch.testing.assert_close(objectives.similarities(pictures, told), theirs.logits_per_image, atol=1e-5, rtol=1e-4)
    theirs = parts(values, prompt, mask, use_image_text_matching_head=True)
    judged, _ = model.joint(features, [ids], ("itm",))
    mine = parts.itm_head(judged[:, 0]).mean(1)
    torch.testing.assert_close(mine, theirs.logits_per_image, atol=1e-5, rtol=1e-4)


def test_masks_are_additive_and_leave_no_row_empty():
    present = torch.tensor([[True, True, False]])
    for kind in ("itc", "itm", "lm"):
        allowed = side_by_side([who_sees_whom(kind, 2, present)] * 2, 2)
        mask = additive(allowed, torch.float32)
        assert mask.shape == (1, 1, 10, 10) and mask.dtype == torch.float32
        assert (mask == 0).any(-1).all() and torch.equal(mask[:, 0] == 0, allowed)
        assert not allowed[0, :2, 2:4].any() and not allowed[0, 4:6, 6].any()


@torch.no_grad()
def test_the_folded_encoder_begins_near_its_teacher():
    torch.manual_seed(0)
    config = llava.vision_config()
    teacher = CLIPVisionModel(config).eval()
    prepare(teacher)
    torch.nn.init.normal_(teacher.pre_layrnorm.weight, 1, 0.2)
    torch.nn.init.normal_(teacher.pre_layrnorm.bias, 0, 0.2)
    text = LlamaConfig(vocab_size=10, pad_token_id=0, **SMALL)

    class Ten:
        pad_token_id = 0

        def __len__(self):
            return 10

        def convert_tokens_to_ids(self, _token):
            return 3

    student = qformer.build(Ten(), config, text).retrieval.vision_model.eval()
    values = torch.rand(4, 3, config.image_size, config.image_size)
    wanted = teacher(values).last_hidden_state
    before = blip2.distance(student(values).last_hidden_state, wanted)
    refold(student, teacher, values)
    after = blip2.distance(student(values).last_hidden_state, wanted)
    assert float(before) > 1 and float(after) < 0.1 * float(before)
    own = teacher.pre_layrnorm(teacher.embeddings(values))[:, :1]
    torch.testing.assert_close(student.embeddings(values)[:, :1], own, atol=1e-5, rtol=1e-4)


COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def _toy(tokenizer):
    """Pictures of one colour each, with a caption that names it and one that names another."""
    names = list(COLOURS)
    pixels = torch.stack([torch.tensor(rgb).expand(32, 32, 3) for rgb in COLOURS.values()]).to(torch.uint8)
    word = [tokenizer(f" {name}", add_special_tokens=False).input_ids[0] for name in names]
    rows = []
    for i in range(len(names)):
        true, wrong = word[i], word[(i + 1) % len(names)]
        rows.append([[1, said, 2] for said in (true, wrong)])
    return {
        "pixels": pixels,
        "full": torch.tensor(rows),
        "claims": torch.tensor(rows)[:, None],
        "same": torch.eye(len(names), dtype=torch.bool),
        "area": torch.zeros(len(names), dtype=torch.int64),
        "shape": torch.ones(len(names), 4, dtype=torch.int64),
        "colour": torch.tensor([COLOUR_INDEX[name] for name in names])[:, None].expand(-1, 4),
        "row": torch.tensor([0, 0, 2, 2]).expand(len(names), 4),
        "column": torch.tensor([0, 2, 0, 2]).expand(len(names), 4),
        "traits": torch.zeros(len(names), 4, len(TRAITS)),
        "covered": torch.ones(len(names), 4, 16),
    }


STEPS = 60  # on four pictures


def test_a_wrong_caption_lowers_the_probability_of_a_match(model, tokenizer):
    batch, words = _toy(tokenizer), PatchWords.of(tokenizer, "cpu")
    shared.ready(model, "cpu")
    model.generator.requires_grad_(False)
    trained = [p for group in blip2.qformer_groups(model) for p in group["params"]]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, fused=True)
    first = None
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / STEPS)  # a constant rate ends in a loss that leaps
        losses = blip2.represent_loss(batch, model, 5, words, "cpu")
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        first = first or {key: float(value.detach()) for key, value in losses.items()}
    assert losses["itm"] < 0.7 * first["itm"] and losses["itc"] < first["itc"] and losses["lm"] < 0.5 * first["lm"]
    assert losses["gaze"] < 0.9 * first["gaze"] and losses["words"] < 0.7 * first["words"]
    assert losses["doubt"] < 0.5 * first["doubt"] and losses["pointed"] < 0.9 * first["pointed"]
    with torch.no_grad():
        features = model.retrieval.vision_model(as_pixel_values(batch["pixels"])).last_hidden_state
        judged, _ = model.joint(features, [batch["full"][:, 0], batch["full"][:, 1]], ("itm", "itm"))
        match = model.retrieval.itm_head(judged).mean(2).softmax(-1)[..., 1]
    assert (match[:, 0] > match[:, 1] + 0.2).all()


def test_the_queries_cells_cover_the_picture_once():
    own = cells(2 * qformer.SIDE)
    assert own.sum(0).eq(1).all() and own.sum(1).eq(4).all()
    assert own[0].nonzero().flatten().tolist() == [0, 1, 2 * qformer.SIDE, 2 * qformer.SIDE + 1]


def test_a_query_pays_for_what_its_first_head_gives_to_other_cells():
    patches = 4 * qformer.QUERIES
    perfect = torch.cat([torch.zeros(qformer.QUERIES, 1), cells(2 * qformer.SIDE) / 4], 1)
    weights = torch.full((1, 2, 2 * qformer.QUERIES, 1 + patches), 1 / (1 + patches))
    weights[:, 0] = perfect.repeat(2, 1)
    assert float(cell_gaze({0: weights})) == pytest.approx(0, abs=1e-3)
    assert float(cell_gaze({0: weights.flip(1)})) == pytest.approx(math.log((1 + patches) / 4), abs=1e-3)
    assert float(cell_gaze({0: weights, 1: weights.flip(1)})) == pytest.approx(
        math.log((1 + patches) / 4) / 2, abs=1e-3
    )


def test_the_changed_words_are_those_between_what_both_texts_share():
    true = torch.tensor([[1, 5, 6, 7, 2, 0], [1, 5, 6, 7, 2, 0], [1, 5, 5, 2, 0, 0], [1, 5, 6, 2, 0, 0]])
    wrong = torch.tensor([[1, 5, 9, 7, 2, 0], [1, 5, 8, 9, 7, 2], [1, 5, 2, 0, 0, 0], [1, 5, 6, 2, 0, 0]])
    told = qformer.changed(true, wrong, 0).int().tolist()
    assert told == [[0, 0, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]


def test_a_word_pays_for_what_it_gives_to_queries_that_do_not_show_it():
    q, texts = qformer.QUERIES, [torch.tensor([[1, 30, 2]]), torch.tensor([[40, 2]])]
    told, shown = torch.full((1, q, 2), -1), torch.zeros(1, q, dtype=torch.bool)
    told[0, 3, 1], told[0, 4, 0], told[0, 5, 0] = 30, 30, 40
    shown[0, 3:5] = True  # nothing is seen in cell 5
    weights = torch.zeros(1, 2, 2 * q + 5, 2 * q + 5)
    weights[0, 1, 2 * q + 1, 3], weights[0, 1, 2 * q + 1, 4] = 0.25, 0.25
    weights[0, 1, 2 * q + 1, q + 3] = 0.5  # a query of the other text
    assert float(qformer.word_gaze(weights, texts, shown, told)) == pytest.approx(math.log(2), abs=1e-3)


def test_a_cell_is_named_after_what_covers_most_of_it(tokenizer):
    words = PatchWords.of(tokenizer, "cpu")
    side = 2 * qformer.SIDE
    batch = {key: torch.zeros(1, side * side, dtype=torch.int64) for key in ("shape", "colour", "row", "column")}
    batch |= {"traits": torch.zeros(1, side * side, len(TRAITS)), "covered": torch.zeros(1, side * side, 16)}
    for patch, shape, points in ((0, 1, 4), (side + 1, 2, 9), (2, -100, 2), (3, 0, 0)):
        batch["shape"][0, patch] = shape
        batch["covered"][0, patch, :points] = 1
    shown, told = cell_words(batch, words.asked)
    assert shown.flatten().tolist() == [True] + [False] * (qformer.QUERIES - 1)
    assert told[0, 0, 0] == words.asked[0][2]


@pytest.fixture(scope="module")
def start(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(0)
    llava.save(llava.build(tokenizer), tokenizer, folder)
    return folder


def test_the_recipe_trains_each_part_in_its_stage_alone(start, tmp_path, monkeypatch):
    monkeypatch.setattr(blip2, "SHARES", dict.fromkeys(blip2.SHARES, 1.0))
    monkeypatch.setattr(blip2, "BATCH", 4)
    monkeypatch.setattr(qformer, "LAYERS", 1)
    done = blip2.train(tmp_path, 0.12, 3, "cpu", 1, False, start)
    assert list(done) == list(blip2.SHARES) and all(stage["steps"] for stage in done.values())
    vision = torch.load(tmp_path / "refit.pt", weights_only=True)["vision"]
    one, two = (torch.load(tmp_path / f"{name}.pt", weights_only=True)["model"] for name in ("represent", "generate"))
    assert all(torch.equal(two[f"retrieval.vision_model.{key}"], value) for key, value in vision.items())
    moved = {key.split(".")[1] for key in two if not torch.equal(one[key], two[key])}
    assert "language_projection" in moved and "language_model" not in moved and "vision_model" not in moved
    llama, _ = blip2.load(start)
    kept = two["generator.language_model.lm_head.weight"]
    assert torch.equal(kept, llama.lm_head.weight)
    assert done["represent"]["trainable"] < done["generate"]["trainable"]
    again = blip2.train(tmp_path, 0.12, 3, "cpu", 1, True, start)
    assert again == done
    model, _ = blip2.load_latest(tmp_path)
    assert all(torch.equal(value, two[key]) for key, value in model.state_dict().items())
    assert model.generator.qformer is model.retrieval.qformer


def test_an_exported_bridge_goes_on_around_another_language_model(model, tokenizer, tmp_path):
    model.temperature.log_scale.data.fill_(3.0)
    blip2.save(model, tokenizer, tmp_path)
    torch.manual_seed(1)
    text = LlamaConfig(vocab_size=len(tokenizer) + 5, pad_token_id=0, **SMALL)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens([f"new {i}" for i in range(5)])
    made = qformer.build(tokenizer, CLIPVisionConfig(**SMALL, image_size=32, patch_size=16), text)
    begun = {key: value.clone() for key, value in made.state_dict().items()}
    blip2.take_over(made, tmp_path, tokenizer)
    words = "retrieval.embeddings.word_embeddings.weight"
    for key, value in model.float().state_dict().items():
        if "language_model" in key or key.startswith("doubt."):  # the latter is of training alone
            assert torch.equal(made.state_dict()[key], begun[key])
        else:
            assert torch.equal(made.state_dict()[key][: len(value)] if key == words else made.state_dict()[key], value)
    spelled = tokenizer.encode("new", add_special_tokens=False) + tokenizer.encode(" 3", add_special_tokens=False)
    rows = model.retrieval.embeddings.word_embeddings.weight
    new = made.state_dict()[words][tokenizer.convert_tokens_to_ids("new 3")]
    torch.testing.assert_close(new, rows[spelled].mean(0))


def test_both_classes_load_one_checkpoint(model, tokenizer, tmp_path):
    values, ids = torch.randn(1, 3, 32, 32), torch.tensor([[1, 20, 30, 2]])
    model.temperature.log_scale.data.fill_(3.0)
    blip2.save(model, tokenizer, tmp_path)
    prompt = torch.cat([torch.full((1, qformer.QUERIES), model.generator.config.image_token_id), ids], 1)
    for kind, own in (("ForConditionalGeneration", "generator"), ("ForImageTextRetrieval", "retrieval")):
        made, report = getattr(transformers, f"Blip2{kind}").from_pretrained(tmp_path, output_loading_info=True)
        assert not report["missing_keys"] and made.config.itc_log_scale == 3.0
        mine = getattr(model, own).float().eval()
        theirs = made.float().eval()
        assert all(torch.equal(value, mine.state_dict()[key]) for key, value in theirs.state_dict().items())
        logits = theirs(pixel_values=values, input_ids=prompt, attention_mask=torch.ones_like(prompt))
        assert torch.isfinite(logits.logits if own == "generator" else logits.logits_per_image).all()
