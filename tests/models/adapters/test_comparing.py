"""CLIP and BLIP-2's retrieval half against plain transformers: the same cosines, probabilities and matches."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    Blip2ForImageTextRetrieval,
    CLIPModel,
    SiglipModel,
)

from tests.kit.tiny import tiny_blip2, tiny_clip, tiny_siglip
from vlm_demo import Pipeline
from vlm_demo.errors import BadImage, BadQuestion, QuantizationUnavailable, Stopped, UnsupportedModel

pytestmark = pytest.mark.usefixtures("bf16_as_stored")

TEXTS = ["a red star", "a blue circle and a green square", "yes"]
SIZES = [(120, 120), (90, 160), (200, 70)]


def pixels(folder: Path, picture) -> torch.Tensor:
    return AutoImageProcessor.from_pretrained(folder, backend="pil")(picture, return_tensors="pt")["pixel_values"]


class TestClip:
    @torch.no_grad()
    @pytest.mark.parametrize("size", SIZES)
    def test_scores_are_plain_clips(self, tmp_path: Path, noise, size: tuple[int, int]) -> None:
        pipe = Pipeline.from_pretrained(tiny_clip(tmp_path))
        plain = CLIPModel.from_pretrained(tmp_path).eval()
        coded = AutoTokenizer.from_pretrained(tmp_path)(TEXTS, padding=True, padding_side="right", return_tensors="pt")
        seen = set()
        for seed in range(4):
            picture = noise(*size, seed)
            read = plain(**coded.data, pixel_values=pixels(tmp_path, picture))
            scores = pipe.score(picture, TEXTS)
            assert scores.texts == tuple(TEXTS) and scores.matches is None
            assert scores.probabilities == pytest.approx(read.logits_per_image[0].softmax(-1).tolist(), abs=1e-5)
            cosines = read.logits_per_image[0] / plain.logit_scale.exp()
            assert scores.similarities == pytest.approx(cosines.tolist(), abs=1e-5)
            assert scores.temperature == pytest.approx(1 / plain.logit_scale.exp().item())
            assert sum(scores.probabilities) == pytest.approx(1)
            seen.add(tuple(round(value, 3) for value in scores.similarities))
        assert len(seen) == 4  # the picture matters

    def test_two_captions_get_two_features(self, tmp_path: Path, noise) -> None:
        pipe = Pipeline.from_pretrained(tiny_clip(tmp_path))
        one, two = pipe.score(noise(50, 50), ["a red star", "a red square"]).similarities
        assert abs(one - two) > 1e-3

    def test_each_text_scores_as_if_alone(self, tmp_path: Path, noise) -> None:
        """Padding must not reach the token that is read."""
        pipe = Pipeline.from_pretrained(tiny_clip(tmp_path))
        together = pipe.score(noise(50, 50), TEXTS)
        alone = [pipe.score(noise(50, 50), text).similarities[0] for text in TEXTS]
        assert together.similarities == pytest.approx(alone, abs=1e-5)
        assert pipe.score(noise(50, 50), TEXTS[0]).probabilities == (1.0,)

    @torch.no_grad()
    def test_an_old_checkpoint_whose_end_is_the_highest_token(self, tmp_path: Path, noise) -> None:
        pipe = Pipeline.from_pretrained(tiny_clip(tmp_path, eos_token_id=2))
        plain, coded = CLIPModel.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
        read = plain(
            **coded(TEXTS, padding=True, padding_side="right", return_tensors="pt").data,
            pixel_values=pixels(tmp_path, noise(50, 50)),
        )
        probabilities = pipe.score(noise(50, 50), TEXTS).probabilities
        assert probabilities == pytest.approx(read.logits_per_image[0].softmax(-1).tolist(), abs=1e-5)

    @pytest.mark.parametrize(("end", "eos"), [("</s>", 2), ("<|end|>", 7)])
    def test_texts_that_would_be_read_at_a_wrong_place_are_refused(self, tmp_path: Path, end: str, eos: int) -> None:
        """With eos_token_id 2 transformers reads the highest id of a text, not ``</s>``; with one that no text holds,
        the first token of every text."""
        with pytest.raises(UnsupportedModel, match="its tokenizer ends texts with"):
            Pipeline.from_pretrained(tiny_clip(tmp_path, end=end, eos_token_id=eos))

    def test_it_writes_no_answers_and_says_so(self, tmp_path: Path, noise) -> None:
        pipe = Pipeline.from_pretrained(tiny_clip(tmp_path / "clip"))
        assert not pipe.can_answer and not pipe.can_explain and pipe.can_score
        assert (pipe.bridge_info.kind, pipe.family) == ("none", "clip")
        message = "^clip compares pictures with texts; it can't write answers. Use score, or "
        for call in (
            lambda: pipe.ask(noise(9, 9), "What is it?"),
            lambda: next(pipe.stream(noise(9, 9), "What is it?")),
            lambda: pipe.explain(noise(9, 9), "What is it?", "a star"),
        ):
            with pytest.raises(UnsupportedModel, match=message):
                call()

    @pytest.mark.parametrize("quantize", ["8bit", "4bit"])
    def test_there_is_nothing_to_quantize(self, tmp_path: Path, quantize: str) -> None:
        with pytest.raises(QuantizationUnavailable, match="no language model"):
            Pipeline.from_pretrained(tiny_clip(tmp_path), quantize=quantize)

    def test_bf16(self, tmp_path: Path, noise) -> None:
        tiny_clip(tmp_path / "a")
        wide, narrow = (
            Pipeline.from_pretrained(tiny_clip(tmp_path / str(t), dtype=t)) for t in (torch.float32, torch.bfloat16)
        )
        assert narrow.precision == "bf16"
        near = [pipe.score(noise(50, 50), TEXTS).similarities for pipe in (wide, narrow)]
        assert near[0] == pytest.approx(near[1], abs=0.05)


class TestSiglip:
    @torch.no_grad()
    @pytest.mark.parametrize("size", SIZES)
    def test_scores_are_plain_siglips(self, tmp_path: Path, noise, size: tuple[int, int]) -> None:
        """It reads texts filled up to their full length, and scores each by itself."""
        pipe = Pipeline.from_pretrained(tiny_siglip(tmp_path))
        plain = SiglipModel.from_pretrained(tmp_path).eval()
        words = AutoTokenizer.from_pretrained(tmp_path)
        ids = words(TEXTS, padding="max_length", max_length=24, padding_side="right", return_tensors="pt")["input_ids"]
        seen = set()
        for seed in range(3):
            picture = noise(*size, seed)
            read = plain(input_ids=ids, pixel_values=pixels(tmp_path, picture))
            scores = pipe.score(picture, TEXTS)
            assert scores.matches == pytest.approx(read.logits_per_image[0].sigmoid().tolist(), abs=1e-5)
            cosines = (read.logits_per_image[0] - plain.logit_bias) / plain.logit_scale.exp()
            assert scores.similarities == pytest.approx(cosines.tolist(), abs=1e-5)
            assert scores.temperature == pytest.approx(1 / plain.logit_scale.exp().item())
            assert scores.probabilities == pytest.approx((cosines / scores.temperature).softmax(-1).tolist(), abs=1e-5)
            seen.add(tuple(round(value, 3) for value in scores.similarities))
        assert len(seen) == 3  # the picture matters
        alone = [pipe.score(picture, text).matches[0] for text in TEXTS]
        assert scores.matches == pytest.approx(alone, abs=1e-5)

    def test_it_writes_no_answers(self, tmp_path: Path, noise) -> None:
        pipe = Pipeline.from_pretrained(tiny_siglip(tmp_path))
        assert not pipe.can_answer and pipe.can_score and (pipe.bridge_info.kind, pipe.family) == ("none", "siglip")

    def test_without_a_head_it_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedModel, match="vision_use_head"):
            Pipeline.from_pretrained(tiny_siglip(tmp_path, vision_use_head=False))


@torch.no_grad()
@pytest.mark.parametrize("heads", ["together", "apart"])
@pytest.mark.parametrize("size", SIZES)
def test_scores_are_plain_blip2s(tmp_path: Path, noise, size: tuple[int, int], heads: str) -> None:
    pipe = Pipeline.from_pretrained(tiny_blip2(tmp_path, heads=heads, itc_log_scale=2.0))
    weights = load_file(tmp_path / "model.safetensors")
    if heads == "apart":
        weights |= load_file(tmp_path / "retrieval.safetensors")
    config = AutoConfig.from_pretrained(tmp_path)
    plain = Blip2ForImageTextRetrieval.from_pretrained(None, config=config, state_dict=weights).eval()
    words = AutoTokenizer.from_pretrained(tmp_path)
    ids = [words(f"<s>{text}</s>", add_special_tokens=False)["input_ids"] for text in TEXTS]
    longest = max(len(tokens) for tokens in ids)
    padded = torch.tensor([[config.image_token_index] * 5 + tokens + [0] * (longest - len(tokens)) for tokens in ids])
    mask = torch.tensor([[1] * (5 + len(tokens)) + [0] * (longest - len(tokens)) for tokens in ids])
    matched = set()
    for seed in range(4):
        picture = noise(*size, seed)
        given = {"pixel_values": pixels(tmp_path, picture), "input_ids": padded, "attention_mask": mask}
        cosines = plain(**given).logits_per_image[0]
        given["pixel_values"] = given["pixel_values"].expand(len(TEXTS), -1, -1, -1)
        judged = plain(**given, use_image_text_matching_head=True).logits_per_image.softmax(-1)[:, 1]
        scores = pipe.score(picture, TEXTS)
        assert scores.similarities == pytest.approx(cosines.tolist(), abs=1e-5)
        assert scores.matches == pytest.approx(judged.tolist(), abs=1e-5)
        assert scores.temperature == pytest.approx(torch.tensor(-2.0).exp().item())
        assert scores.probabilities == pytest.approx((cosines / scores.temperature).softmax(-1).tolist(), abs=1e-5)
        assert [stage.name for stage in scores.stages] == ["view", "texts", "encoder", "compare", "match"]
        matched |= {round(match, 3) for match in scores.matches}
    assert len(matched) > 4  # text and picture matter


class TestBlip2Heads:
    def test_shared_weights_are_in_memory_once(self, tmp_path: Path) -> None:
        bare = Pipeline.from_pretrained(tiny_blip2(tmp_path / "bare"))
        both = Pipeline.from_pretrained(tiny_blip2(tmp_path / "both", heads="apart"))
        heads = load_file(tmp_path / "both" / "retrieval.safetensors")
        held = sum(tensor.numel() * tensor.element_size() for tensor in heads.values())
        more = both.memory().parameter_bytes - bare.memory().parameter_bytes
        assert 0 <= more - held < 1000
        retrieval = both.scoring.scorer.matcher.model
        for name in ("vision_model", "qformer", "query_tokens"):
            assert getattr(retrieval, name) is getattr(both.model, name)
        assert not any(tensor.is_meta for tensor in (*retrieval.parameters(), *retrieval.buffers()))

    def test_it_writes_the_same_with_and_without_them(self, tmp_path: Path, noise) -> None:
        pipes = [Pipeline.from_pretrained(tiny_blip2(tmp_path / str(h), heads=h)) for h in (None, "together", "apart")]
        answers = [pipe.ask(noise(50, 90), "What is it?", max_new_tokens=8) for pipe in pipes]
        tokens = [[token.id for token in answer.tokens] for answer in answers]
        assert tokens[0] == tokens[1] == tokens[2] and len(tokens[0]) > 2
        assert [pipe.can_score for pipe in pipes] == [False, True, True]

    def test_without_them_it_says_that_it_cannot_score(self, tmp_path: Path, noise) -> None:
        pipe = Pipeline.from_pretrained(tiny_blip2(tmp_path / "blip2"))
        with pytest.raises(UnsupportedModel, match="^blip2 writes answers; it has no part that compares"):
            pipe.score(noise(9, 9), TEXTS)

    @pytest.mark.parametrize("damage", ["lacks one", "another size"])
    def test_damaged_heads_are_refused(self, tmp_path: Path, damage: str) -> None:
        file = tiny_blip2(tmp_path, heads="apart") / "retrieval.safetensors"
        heads = load_file(file)
        bias = heads.pop("itm_head.bias")
        save_file(heads if damage == "lacks one" else heads | {"itm_head.bias": torch.cat([bias, bias])}, file)
        with pytest.raises(UnsupportedModel, match="incomplete" if damage == "lacks one" else "do not fit"):
            Pipeline.from_pretrained(tmp_path)

    def test_without_a_temperature_similarities_are_taken_as_they_are(self, tmp_path: Path, noise) -> None:
        scores = Pipeline.from_pretrained(tiny_blip2(tmp_path, heads="apart")).score(noise(50, 50), TEXTS)
        assert scores.temperature == 1
        assert scores.probabilities == pytest.approx(torch.tensor(scores.similarities).softmax(-1).tolist(), abs=1e-6)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_narrow_weights(self, tmp_path: Path, noise, dtype: torch.dtype) -> None:
        """In fp16 the Q-Former stays in fp32 and the heads do not. In bf16 noise of this size decides the matches."""
        wide = Pipeline.from_pretrained(tiny_blip2(tmp_path / "wide", heads="apart"))
        narrow = Pipeline.from_pretrained(tiny_blip2(tmp_path / "narrow", heads="apart", dtype=dtype))
        near = [pipe.score(noise(50, 50), TEXTS) for pipe in (wide, narrow)]
        assert near[0].similarities == pytest.approx(near[1].similarities, abs=0.1)
        assert narrow.model.qformer.dtype == (torch.float32 if dtype == torch.float16 else dtype)
        if dtype == torch.float16:
            assert near[0].matches == pytest.approx(near[1].matches, abs=0.1)


@pytest.fixture(scope="module", params=[tiny_clip, tiny_blip2])
def scoring(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    settings = {"heads": "apart"} if request.param is tiny_blip2 else {}
    return Pipeline.from_pretrained(request.param(tmp_path_factory.mktemp("scoring"), **settings))


class TestTexts:
    def test_control_strings_are_text(self, scoring: Pipeline) -> None:
        end = scoring.tokenizer.eos_token
        coded = scoring.scoring.scorer.read([f"a {end} <image> sign", "yes"])
        held = coded.ids[0].tolist()
        assert held.count(scoring.tokenizer.eos_token_id) == 1 and held[-1] == scoring.tokenizer.eos_token_id
        assert scoring.tokenizer.convert_tokens_to_ids("<image>") not in held
        assert coded.mask.sum(1).tolist() == [len(held), int(coded.mask[1].sum())] and coded.mask[1, 0] == 1

    @pytest.mark.parametrize("texts", [[], "", [" "], ["a star", ""]])
    def test_nothing_to_compare(self, scoring: Pipeline, noise, texts) -> None:
        with pytest.raises(BadQuestion, match="at least one word"):
            scoring.score(noise(9, 9), texts)

    def test_a_long_text_is_refused_and_not_cut(self, scoring: Pipeline, noise) -> None:
        with pytest.raises(BadQuestion, match="“star star .* tokens long, but this model reads"):
            scoring.score(noise(9, 9), ["a circle", "star " * 60])

    def test_a_bad_picture(self, scoring: Pipeline) -> None:
        with pytest.raises(BadImage):
            scoring.score(b"nothing of the kind", TEXTS)

    def test_it_can_be_stopped(self, scoring: Pipeline, noise) -> None:
        calls = []

        def pressed() -> bool:
            calls.append(1)
            return len(calls) > 6

        with pytest.raises(Stopped):
            scoring.score(noise(50, 50), TEXTS, cancelled=pressed)
        assert scoring.score(noise(50, 50), TEXTS).similarities
