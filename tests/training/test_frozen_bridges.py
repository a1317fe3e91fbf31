"""Training of the Q-Former and of gated cross-attention: the assembled export behaves as the trained model did."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoTokenizer, BertConfig, BertModel, LlamaForCausalLM

from tests.kit import composed
from tests.kit.composed import silent
from tests.kit.tiny_parts import write_photographs
from vlm_demo.models import embedded, minilm, user_cache
from vlm_demo.models.builders import Recipe
from vlm_demo.models.efficientnet_bridges import EfficientNetBlip2ForImageTextRetrieval
from vlm_demo.models.efficientnet_lite import EfficientNetLiteModel
from vlm_demo.models.parts import find
from vlm_demo.models.pretrained import language_model, vision_tower
from vlm_demo.training import bridge_training, cross_attention, finetune, qformer_training
from vlm_demo.training.branches import BranchPacker, PictureTurns
from vlm_demo.training.cached_features import cached_features, captioned
from vlm_demo.training.export import export_run
from vlm_demo.training.mixture import Mixture, Sample
from vlm_demo.training.qformer_bridge import (
    alikeness,
    compare,
    contrastive_loss,
    negatives,
    padded,
    retrieval_figures,
    similarities,
)
from vlm_demo.training.recipes import RECIPES

SIDE = 96
SIZES = {"queries": 4}
ASKED = PictureTurns((("What is it?", "a red circle"),), ("caption",))
ALSO = PictureTurns((("Is it blue?", "no"),), ("yes-no",))


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tiny parts, and a cache for this file alone."""
    root = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_cache, "folder", lambda: root / "cache" / "vlm_demo")
        composed.install(root / "site", patch, (composed.LANGUAGE, composed.TOWER, composed.TEXT))
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photos"), 40)


@dataclass
class Family:
    """A trainer of one family at tiny sizes."""

    name: str
    module: Any
    trainer: type[finetune.Trainer]
    image_tokens: int
    sizes: dict[str, int]

    def frozen_parts(self) -> tuple[Any, ...]:
        tower_and_llm = vision_tower(composed.TOWER, SIDE, silent), *language_model(composed.LANGUAGE, silent)
        return (*tower_and_llm, minilm.read(find(composed.TEXT, silent))) if self.name == "blip2" else tower_and_llm

    def compose(self) -> Any:
        torch.manual_seed(0)
        parts = self.module.compose(*self.frozen_parts(), **self.sizes)
        with torch.no_grad():  # so that the picture has an effect
            parts.projector.standardize(parts.features([pixels(i) for i in range(4)]).flatten(0, 1))
            for name, value in parts.trained().items():
                if "alpha" in name:
                    value.fill_(1.0)
        return parts

    def packer(self, parts: Any) -> BranchPacker:
        return BranchPacker(parts.tokenizer, self.image_tokens)


FAMILIES = {
    "blip2": Family("blip2", qformer_training, qformer_training.QFormerTrainer, 4, SIZES),
    "idefics": Family(
        "idefics", cross_attention, cross_attention.CrossAttentionTrainer, 1, {"crossings": 1, "inner": 40}
    ),
}


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def recipe_of(family: Family) -> Recipe:
    return replace(RECIPES[family.name], image_size=SIDE)


def pixels(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST))


def trainer_of(family: Family, parts: Any, folder: Path, comparison: Any = None) -> finetune.Trainer:
    nothing: Any = None
    extra = (comparison,) if family.name == "blip2" else ()
    return family.trainer(parts, nothing, nothing, folder, *extra)


@torch.no_grad()
def test_put_together_it_predicts_what_it_predicted_in_training(family: Family, tmp_path: Path) -> None:
    """Two conversations packed together in training; each alone, with transformers' own forward, from what was
    exported."""
    parts = family.compose()
    trainer = trainer_of(family, parts, tmp_path / "run")
    trainer.save()
    export_run(tmp_path / "run", tmp_path / "small", recipe_of(family))
    folder = embedded.assembled(tmp_path / "small", silent)
    plain = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    # Exported numbers are bf16: training starts from them again.
    again = family.module.compose(
        *family.frozen_parts(), init=tmp_path / "small" / "trained.safetensors", **family.sizes
    )
    (
        bridge_training.frozen(again.tower.bfloat16(), torch.float32),
        bridge_training.frozen(again.llm.bfloat16(), torch.float32),
    )
    packer = family.packer(parts)
    both = packer([ASKED, ALSO], 200)
    logits, batch = trainer_of(family, again, tmp_path / "again").logits([Sample(pixels(1), both, "x")])
    for number, conversation in enumerate((ASKED, ALSO)):
        alone = packer([conversation], 200)
        ids = torch.from_numpy(alone.ids)[None]
        values = torch.tensor(pixels(1)).permute(2, 0, 1)[None] / 127.5 - 1
        inputs = {"input_ids": ids, "pixel_values": values}
        if family.name == "idefics":
            inputs |= {"pixel_values": values[:, None], "image_attention_mask": torch.ones(*ids.shape, 1)}
        expected = plain(**inputs).logits[0, :-1][torch.from_numpy(alone.weights)[1:] > 0]
        found = logits[batch["turn"] == number]
        torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)
    assert logits.std() > 0.1


def test_the_bridge_alone_is_trained_and_learns(family: Family, tmp_path: Path) -> None:
    parts = family.compose()
    before = {name: value.detach().clone() for name, value in parts.llm.named_parameters() if "gated" not in name}
    trainer: Any = trainer_of(family, parts, tmp_path)
    packer = family.packer(parts)
    answers = ("a red circle", "two blue squares")
    samples = [
        Sample(pixels(i), packer([PictureTurns((("What is it?", answers[i]),), ("caption",))], 200), "x")
        for i in range(2)
    ]
    steps = 100 if family.name == "blip2" else 30  # its queries have first to learn to look
    for group in trainer.optimizer.param_groups:
        group["lr"] = 3e-3 * group["scale"]
    losses: dict[str, list[float]] = {"all": [], "caption": []}
    for _ in range(steps):
        finetune.Trainer.learn(trainer, samples, losses)
    assert losses["all"][-1] < 0.5 * losses["all"][0]
    for name, value in parts.llm.named_parameters():
        if name in before:
            assert torch.equal(value, before[name]), name
    # Another picture, another answer: the picture makes the difference.
    hit, wrong = (trainer.logits([Sample(pixels(at), samples[1].packed, "x")])[0].log_softmax(1) for at in (1, 0))
    batch = trainer.logits(samples[1:])[1]
    assert hit.gather(1, batch["targets"][:, None]).mean() > wrong.gather(1, batch["targets"][:, None]).mean() + 0.1
    trainer.save()
    other: Any = trainer_of(family, family.compose(), tmp_path)
    assert finetune.Trainer.resume(other) and other.step == steps
    for name, value in other.parts.trained().items():
        assert torch.equal(value, parts.trained()[name]), name


@torch.no_grad()
def test_gated_layers_begin_by_adding_the_words_that_alignment_found(tmp_path: Path) -> None:
    family = FAMILIES["idefics"]
    parts = family.compose()
    trainer: Any = trainer_of(family, parts, tmp_path)
    samples = [Sample(pixels(i), family.packer(parts)([ASKED], 200), "x") for i in range(2)]
    trainer.start_from_words(samples)
    seen: dict[str, torch.Tensor] = {}
    layer = parts.llm.model.gated_cross_attn_layers[0]
    layer.register_forward_pre_hook(lambda _, given: seen.update(text=given[0]))
    trainer.logits(samples)
    projection, attention = parts.projector.linear_2.weight, layer.cross_attn
    words = parts.projector.head(parts.features([sample.pixels for sample in samples])) @ projection.T
    values = words.square().mean(-1).sqrt().median() * attention.v_proj.weight  # of a patch of the median size: 1
    torch.testing.assert_close(values, projection, rtol=1e-3, atol=1e-4)
    size = seen["text"].float().square().mean(-1).sqrt().median()
    torch.testing.assert_close(attention.o_proj.weight, size * torch.eye(len(projection)), rtol=0.01, atol=1e-6)


def test_a_step_in_bf16(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is frozen is in bf16 where the processor is fast at it; what is trained stays in float32."""
    monkeypatch.setattr(family.module, "fast_dtype", lambda: torch.bfloat16)
    parts = family.compose()
    assert parts.llm.lm_head.weight.dtype == torch.bfloat16
    assert {value.dtype for value in parts.trained().values()} == {torch.float32}
    exact = [value for name, value in parts.llm.named_buffers() if name.endswith("inv_freq")]
    assert exact and all(value.dtype == torch.float32 for value in exact)
    trainer: Any = trainer_of(family, parts, tmp_path)
    sample = Sample(pixels(1), family.packer(parts)([ASKED, ALSO], 200), "x")
    before = {name: value.detach().clone() for name, value in parts.trained().items()}
    losses: dict[str, list[float]] = {"all": [], "caption": [], "yes": []}
    finetune.Trainer.learn(trainer, [sample, sample], losses)
    moved = [name for name, value in parts.trained().items() if not torch.equal(value, before[name])]
    assert np.isfinite(losses["all"][0]) and len(moved) > len(before) / 3
    if family.name == "blip2":
        with torch.autocast("cpu", torch.bfloat16):
            ids, mask = padded(["a red circle", "no"], parts.text_tokenizer, 64)
            features = parts.features([pixels(0), pixels(1)])
            found = compare(parts.projector, features, ids, mask, 2, torch.Generator().manual_seed(0))
        (found["itc"] + found["itm"]).backward()


def test_trained_weights_stay_small() -> None:
    """At the sizes that ship: 25 MB of BLIP-2, 30 MB of Idefics, in bf16."""
    from transformers import LlamaConfig

    from vlm_demo.models.efficientnet_lite import EfficientNetLiteConfig

    language = LlamaConfig(
        vocab_size=512, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, head_dim=64, pad_token_id=0,
    )  # fmt: skip

    class Tokens:
        pad_token_id = 0

        def convert_tokens_to_ids(self, _token: str) -> int:
            return 4

    bert = BertConfig(hidden_size=384, num_hidden_layers=7, num_attention_heads=12, intermediate_size=1536)
    for family, limit in ((FAMILIES["blip2"], 25e6), (FAMILIES["idefics"], 30e6)):
        with torch.device("meta"):
            tower, llm = EfficientNetLiteModel(EfficientNetLiteConfig()), LlamaForCausalLM(language)
            text = minilm.TextTower(bert, BertModel(bert, add_pooling_layer=False).state_dict(), None)
            parts = family.module.compose(tower, llm, Tokens(), *[text] if family.name == "blip2" else [])
        size = 2 * sum(value.numel() for value in parts.trained().values())
        assert 0.9 * limit < size < limit, (family.name, size)


class TestComparing:
    def test_itc_is_lowest_with_the_matching_text_nearest_and_one_query_is_enough(self) -> None:
        pictures = torch.eye(3)[[0, 1, 2, 2, 0, 1]].view(3, 2, 3)  # queries of picture 0: axes 0 and 1, and so on
        assert similarities(pictures, torch.eye(3)).tolist() == [[1, 1, 0], [0, 0, 1], [1, 1, 0]]
        right, wrong = torch.eye(3), torch.eye(3).roll(1, 0)
        assert contrastive_loss(right, torch.tensor(10.0)) < 1 < contrastive_loss(wrong, torch.tensor(10.0))

    def test_a_negative_is_never_the_match_and_half_of_them_are_near(self) -> None:
        scores = torch.tensor([[9.0, 8.0, 0.0], [0.0, 9.0, 8.0], [8.0, 0.0, 9.0]])
        generator = torch.Generator().manual_seed(0)
        drawn = torch.stack([negatives(scores, generator) for _ in range(400)])
        assert not (drawn == torch.arange(3)).any()
        # Half of the time the nearest, and by chance half of the other half.
        assert (drawn == torch.tensor([1, 2, 0])).float().mean() == pytest.approx(0.75, abs=0.04)

    def test_queries_that_say_the_same_are_alike_and_orthogonal_ones_are_not(self) -> None:
        same, apart = torch.ones(2, 3, 4), torch.eye(4)[None, :3].expand(2, 3, 4)
        assert alikeness(same) == pytest.approx(1) and alikeness(apart) == 0
        assert alikeness(torch.tensor([[[1.0, 0], [0.6, 0.8]]])) == pytest.approx(0.36)

    def test_padding_changes_no_text(self) -> None:
        parts = FAMILIES["blip2"].compose()
        ids, mask = padded(["a red circle", "two blue squares, and a red circle"], parts.text_tokenizer, 64)
        assert ids[0, 0] == 2 and ids[0, mask[0].sum() - 1] == 3 and mask[1].all()
        with torch.no_grad():
            both = parts.projector.texts(ids, mask)
            length = int(mask[0].sum())
            alone = parts.projector.texts(ids[:1, :length], mask[:1, :length])
        torch.testing.assert_close(both[:1], alone, atol=1e-5, rtol=1e-5)


def test_one_call_trains_all_stages(
    photos: Path, family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their order, with held-out figures on the way; resumed, it goes on with the language model's loss alone."""
    monkeypatch.setattr(qformer_training, "REHEARSED", 1)
    clock = itertools.count(step=0.1)  # seconds, one step each time that somebody looks at it
    for module in (finetune, qformer_training):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    parts = family.compose()
    data, held = (Mixture([photos], family.packer(parts), SIDE, held, {"flickr8k": 1.0}) for held in (False, True))
    shares = {"compare_minutes": 0.01} if family.name == "blip2" else {"align_pictures": 30}
    printed: list[str] = []
    folder, options = tmp_path / "run", {"align_epochs": 1, "compiled": False, "log": printed.append}
    family.module.run(parts, data, held, folder, 0.01, **shares, **options)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert any("held_out" in line for line in log) and any("alignment" in line.get("text", "") for line in log)
    assert any("text R@1" in line.get("retrieval", {}) for line in log) == (family.name == "blip2")
    assert len(printed) == {"blip2": 4, "idefics": 2}[family.name]
    printed.clear()
    family.module.run(parts, data, held, folder, 0.01, resume=True, **shares, **options)
    assert [line for line in printed if "lign" in line] == []


@torch.no_grad()
def test_cached_features_are_the_towers_and_are_computed_once(photos: Path, tmp_path: Path) -> None:
    parts = FAMILIES["blip2"].compose()
    mixture = Mixture([photos], FAMILIES["blip2"].packer(parts), SIDE, False, {"flickr8k": 1.0})
    photos_with_captions = captioned(mixture, 6)
    assert len(photos_with_captions) == 6 and all(photo.captions for photo in photos_with_captions)
    batch_sizes: list[int] = []

    def encode(pixels: list[np.ndarray]) -> torch.Tensor:
        batch_sizes.append(len(pixels))
        return parts.features(pixels)

    first = cached_features(tmp_path / "seen.bf16", photos_with_captions, SIDE, encode).clone()
    assert first.shape == (6, 9, composed.SEEN) and sum(batch_sizes) == 7
    torch.testing.assert_close(cached_features(tmp_path / "seen.bf16", photos_with_captions, SIDE, encode), first)
    assert sum(batch_sizes) == 8
    other = cached_features(tmp_path / "seen.bf16", photos_with_captions[::-1], SIDE, encode)
    torch.testing.assert_close(other, first.flip(0), atol=0.02, rtol=0.02)


def test_what_is_exported_compares_as_it_did_in_training(tmp_path: Path) -> None:
    family = FAMILIES["blip2"]
    parts = family.compose()
    bridge = parts.projector
    trainer_of(family, parts, tmp_path / "run").save()
    export_run(tmp_path / "run", tmp_path / "small", recipe_of(family))
    shipped = load_file(tmp_path / "small" / "trained.safetensors")
    assert shipped.keys() == parts.trained().keys() and {t.dtype for t in shipped.values()} == {torch.bfloat16}
    folder = embedded.assembled(tmp_path / "small", silent)
    plain = EfficientNetBlip2ForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "qformer_tokenizer")
    ids, mask = padded(["a red circle", "two blue squares"], tokenizer, 64)
    values = torch.from_numpy(np.stack([pixels(1), pixels(2)])).permute(0, 3, 1, 2) / 127.5 - 1
    places = torch.full((2, family.image_tokens), 4)
    inputs = {
        "pixel_values": values,
        "input_ids": torch.cat([places, ids], 1),
        "attention_mask": torch.cat([torch.ones_like(places), mask], 1),
    }
    with torch.no_grad():
        keys = bridge.feature_head(parts.features([pixels(1), pixels(2)]))
        cosines = similarities(bridge.compared(bridge.query(keys)), bridge.texts(ids, mask))
        torch.testing.assert_close(cosines, plain(**inputs).logits_per_image, atol=0.02, rtol=0.02)
        match = plain(**inputs, use_image_text_matching_head=True).logits_per_image
        torch.testing.assert_close(bridge.itm_logits(keys, ids, mask), match, atol=0.02, rtol=0.02)
        figures = retrieval_figures(bridge, parts.features([pixels(1), pixels(2)]), ids, mask, 2)
    assert figures.keys() == {"text R@1", "picture R@1", "ITM"} and all(0 <= v <= 1 for v in figures.values())
