"""The ViT and the text tower: read from files that are not transformers', and what is put together of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    BertModel,
    Dinov2Model,
    LlavaForConditionalGeneration,
    VisionTextDualEncoderModel,
)

from tests.kit import composed, minilm_files, onnx_files
from tests.kit.composed import silent
from vlm_demo import Pipeline
from vlm_demo.cli.main import main
from vlm_demo.errors import BadQuestion, UnsupportedModel
from vlm_demo.models import dinov2, embedded, loading, minilm, onnx_file, parts, user_cache
from vlm_demo.models.builders import RECIPE, towers
from vlm_demo.models.pretrained import VisionTower

VIT, TEXT = composed.VIT, composed.TEXT
TEXTS = ["a red star", "a blue circle and a green square, of a dog", "two"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages with the weight files of all four parts, in small."""
    site = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        composed.install(site, patch, list(composed.PACKAGES))
    return site


@pytest.fixture
def files(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """These packages installed, and a separate cache and folder of embedded models for this test."""
    monkeypatch.setattr(user_cache, "folder", lambda: tmp_path / "cache" / "vlm_demo")
    monkeypatch.setattr(loading, "EMBEDDED", tmp_path / "models")
    return composed.install(site, monkeypatch, list(composed.PACKAGES))


class TestVit:
    @torch.no_grad()
    @pytest.mark.parametrize("side", [56, 28, 70])
    def test_it_is_the_model_of_the_file_and_its_positions_fit_the_picture(self, tmp_path: Path, side: int) -> None:
        written = onnx_files.write(tmp_path / "vit.onnx")
        config, weights = dinov2.read(tmp_path / "vit.onnx", side)
        model = Dinov2Model(config).eval()
        model.load_state_dict(weights)
        assert config.image_size == side and weights["embeddings.position_embeddings"].shape[1] == 1 + (side // 14) ** 2
        pixels = torch.randn(2, 3, side, side)
        # The one has positions for 56 pixels, which it brings to the picture at every call.
        expected, output = (network(pixels, output_hidden_states=True) for network in (written, model))
        torch.testing.assert_close(output.last_hidden_state, expected.last_hidden_state, atol=1e-5, rtol=1e-5)
        assert output.last_hidden_state.std() > 0.1

    def test_a_file_that_is_cut_off_or_something_else(self, tmp_path: Path) -> None:
        onnx_files.write(tmp_path / "vit.onnx")
        whole = (tmp_path / "vit.onnx").read_bytes()
        for content in (
            whole[: len(whole) // 2],
            whole[:-1],
            b"",
            b"PK\3\4 no onnx",
            whole.replace(b"norm1", b"norm9"),
        ):
            (tmp_path / "bad.onnx").write_bytes(content)
            with pytest.raises(UnsupportedModel, match="bad.onnx is damaged, or holds another network"):
                dinov2.read(tmp_path / "bad.onnx", 56)
        with pytest.raises(UnsupportedModel):
            dinov2.read(tmp_path / "vit.onnx", 60)

    def test_a_bias_that_nothing_was_multiplied_before(self) -> None:
        nodes = (onnx_file.Node("Add", ("bias", "x"), ("y",)), onnx_file.Node("Relu", ("z",), ("x",)))
        with pytest.raises(KeyError):
            onnx_file.Graph(nodes, {}).matrix_before("bias")


class TestText:
    @torch.no_grad()
    def test_its_first_token_is_the_mean_of_the_published_models(self, tmp_path: Path) -> None:
        published = minilm_files.write(tmp_path / "model.zip")
        read = minilm.read(tmp_path / "model.zip")
        model = BertModel(read.config, add_pooling_layer=False).eval()
        model.load_state_dict(read.weights)
        coded = read.tokenizer(TEXTS, padding=True, return_tensors="pt").data
        mask = coded["attention_mask"]
        assert mask.sum(1).unique().numel() == 3 and mask.shape[1] > 8  # neither cut nor filled up as it is published
        inputs = {"input_ids": coded["input_ids"], "attention_mask": mask}
        tokens = published(**inputs).last_hidden_state * mask[..., None]
        mean = tokens.sum(1) / mask.sum(1, keepdim=True)
        expected = torch.nn.functional.layer_norm(mean, mean.shape[1:])
        torch.testing.assert_close(model(**inputs).last_hidden_state[:, 0], expected, atol=0.01, rtol=0.01)

    def test_an_archive_that_is_damaged(self, tmp_path: Path) -> None:
        minilm_files.write(tmp_path / "model.zip")
        whole = (tmp_path / "model.zip").read_bytes()
        for content in (whole[:-100], b"", whole.replace(b"config.json", b"konfig.json")):
            (tmp_path / "bad.zip").write_bytes(content)
            with pytest.raises(UnsupportedModel, match="bad.zip is damaged"):
                minilm.read(tmp_path / "bad.zip")


@pytest.fixture
def llava_vit(files: dict[str, Path], tmp_path: Path) -> Path:
    tensors = composed.trained()
    tensors["projector.linear_1.weight"] = torch.randn(composed.WIDTH, 64) * 0.2
    return composed.ship(tmp_path / "models" / "small-vit", tensors, vision_tower=VIT, image_size=42)


class TestLlavaVit:
    def test_greedy_tokens_are_those_of_plain_transformers(self, llava_vit: Path, tmp_path: Path, noise) -> None:
        folder = tmp_path / "wide"
        shutil.copytree(embedded.assembled(llava_vit, silent), folder)
        model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        model.save_pretrained(folder)
        pipe, processor, picture = (
            Pipeline.from_pretrained(folder),
            AutoProcessor.from_pretrained(folder),
            noise(60, 40),
        )
        content = [{"type": "image"}, {"type": "text", "text": "What is it? 12"}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(images=picture, text=text, return_tensors="pt")
        assert (inputs["input_ids"] == model.config.image_token_id).sum() == 9
        ids = model.generate(**inputs, max_new_tokens=8)[0, inputs["input_ids"].shape[1] :]
        answer = pipe.ask(picture, "What is it? 12", max_new_tokens=8)
        assert list(answer.prompt.ids) == inputs["input_ids"][0].tolist()
        assert [token.id for token in answer.tokens] == ids.tolist()[: len(answer.tokens)] and len(answer.tokens) > 3
        view = pipe.view(picture)
        family = pipe.stages().family
        assert view.grid == (3, 3) and family.leading_tokens == 0 and len(family.encoder_layers) == 2

    @torch.no_grad()
    def test_training_sees_what_the_finished_model_sees(self, llava_vit: Path, files, tmp_path: Path, noise) -> None:
        seeing = VisionTower(towers.read(VIT, files[VIT], 42)).eval()
        folder = embedded.assembled(llava_vit, silent)
        made = AutoImageProcessor.from_pretrained(folder, backend="pil")(noise(60, 40), return_tensors="pt")
        tower = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).model.vision_tower
        tower.load_state_dict(seeing.model.state_dict())  # the folder's are rounded to bf16
        read = tower(made["pixel_values"], output_hidden_states=True).hidden_states[-1][:, 1:]
        mean, std = (torch.tensor(values)[:, None, None] for values in (dinov2.MEAN, dinov2.STD))
        pixels = (made["pixel_values"] * std + mean) * 2 - 1
        torch.testing.assert_close(seeing(pixels).last_hidden_state, read, atol=1e-4, rtol=1e-4)
        corner = ((pixels[0, :, 0, 0] + 1) * 127.5).round().int().tolist()
        assert corner == list(seeing.fill) == [123, 116, 103] and seeing.config.hidden_size == read.shape[2]

    def test_the_exported_folder_needs_nothing_of_ours(self, llava_vit: Path, tmp_path: Path, capsys) -> None:
        assert main(["export", "small-vit", str(tmp_path / "out")]) == 0
        code = (
            "import sys; sys.path = [path for path in sys.path if path not in ('', '.')]\n"
            "from transformers import LlavaForConditionalGeneration as L, AutoProcessor as P\n"
            f"m, p = L.from_pretrained({str(tmp_path / 'out')!r}), P.from_pretrained({str(tmp_path / 'out')!r})\n"
            "assert type(m.model.vision_tower).__name__ == 'Dinov2Model' and 'vlm_demo' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)


def heads(channels: int = composed.SEEN, width: int = 32, size: int = 24) -> dict[str, torch.Tensor]:
    """Trained weights of a clip, at random."""
    draw = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw) * 0.3

    return {
        "picture.project.weight": random(size, channels) * 0.2,
        "picture.project.bias": random(size),
        "picture.score.weight": random(1, size) * 10,
        "picture.out.weight": random(16, size),
        "text.hidden.weight": random(width, width),
        "text.hidden.bias": random(width),
        "text.out.weight": random(16, width),
        "logit_scale": torch.tensor(3.0),
    }


def ship_clip(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"family": "clip", "language_model": TEXT, "vision_tower": composed.TOWER, "image_size": 96}
    (folder / RECIPE).write_text(json.dumps(recipe))
    save_file(tensors, folder / composed.TRAINED)
    return folder


@pytest.fixture
def clip(files: dict[str, Path], tmp_path: Path) -> Path:
    return ship_clip(tmp_path / "models" / "small-clip", heads())


class TestClip:
    @torch.no_grad()
    def test_scores_are_those_of_plain_transformers(self, clip: Path, tmp_path: Path, noise) -> None:
        folder = tmp_path / "wide"
        shutil.copytree(embedded.assembled(clip, silent), folder)
        plain = VisionTextDualEncoderModel.from_pretrained(folder, dtype=torch.float32).eval()
        plain.save_pretrained(folder)
        pipe = Pipeline.from_pretrained(folder)
        coded = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt").data
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        seen = set()
        for seed in range(2):
            picture = noise(200, 90, seed)
            pixels = processor(picture, return_tensors="pt")["pixel_values"]
            read = plain(
                input_ids=coded["input_ids"], attention_mask=coded["attention_mask"], pixel_values=pixels
            ).logits_per_image[0]
            scores = pipe.score(picture, TEXTS)
            assert scores.probabilities == pytest.approx(read.softmax(-1).tolist(), abs=1e-4)
            assert scores.similarities == pytest.approx((read / plain.logit_scale.exp()).tolist(), abs=1e-4)
            assert scores.matches is None and scores.temperature == pytest.approx(0.0498, abs=1e-3)
            alone = [pipe.score(picture, text).similarities[0] for text in TEXTS]
            assert scores.similarities == pytest.approx(alone, abs=1e-5)  # padding is not read
            seen.add(round(scores.similarities[0], 3))
        assert len(seen) == 2 and len({round(similarity, 3) for similarity in scores.similarities}) == 3

    def test_a_patch_that_adds_nothing_speaks_for_nothing(self, clip: Path, noise) -> None:
        pipe = Pipeline.from_pretrained("small-clip")
        view = pipe.view(noise(96, 96))
        assert view.grid == (3, 3) and (pipe.family, pipe.can_answer, pipe.bridge_info.kind) == ("clip", False, "none")
        relevancy = pipe.scoring.relevancy.relevancy(view, "a red star")
        assert relevancy.shape == (9,) and relevancy.min() >= 0 and relevancy.std() > 0
        pool = pipe.model.vision_model.pool
        patches = pipe.scoring.encoder(view).features
        weights = pool.score(patches).softmax(1)[0, :, 0]
        assert relevancy[int(weights.argmax())] > relevancy[int(weights.argmin())]
        assert pipe.relevancy(view, "a red star").shape == (96, 96)

    def test_texts_that_are_too_long_and_words_that_look_like_control(self, clip: Path, noise) -> None:
        pipe = Pipeline.from_pretrained("small-clip")
        with pytest.raises(BadQuestion, match="this model reads 128"):
            pipe.score(noise(50, 50), "star " * 130)
        ids = pipe.scoring.scorer.read(["[SEP] [MASK]"]).ids[0].tolist()
        assert ids[0] == 2 and ids[-1] == 3 and not {2, 3, 4} & set(ids[1:-1])

    @pytest.mark.parametrize(
        "damage",
        [
            lambda weights: weights | {"queries": torch.zeros(2)},
            lambda weights: {name: value for name, value in weights.items() if name != "logit_scale"},
            lambda weights: weights | {"picture.project.weight": torch.zeros(24, 5)},
            lambda weights: weights | {"text.hidden.weight": torch.zeros(5, 5)},
        ],
    )
    def test_trained_weights_that_do_not_fit(self, clip: Path, damage: Callable) -> None:
        ship_clip(clip, damage(heads()))
        with pytest.raises(UnsupportedModel, match="trained weights of small-clip do not fit"):
            embedded.assembled(clip, silent)

    def test_a_part_that_is_no_tower(self, clip: Path) -> None:
        recipe = json.loads((clip / RECIPE).read_text()) | {"vision_tower": composed.LANGUAGE}
        (clip / RECIPE).write_text(json.dumps(recipe))
        with pytest.raises(UnsupportedModel, match="is no vision encoder: choose one of efficientnet-lite2, dinov2"):
            embedded.assembled(clip, silent)

    def test_it_is_exported_and_offered_as_one_that_compares(self, clip: Path, tmp_path: Path, capsys) -> None:
        assert loading.embedded_names() == ["small-clip"] and loading.family_of("small-clip") == "clip"
        assert main(["export", "small-clip", str(tmp_path / "out")]) == 0
        assert VisionTextDualEncoderModel.from_pretrained(tmp_path / "out").config.vision_config.hidden_size == 24


@pytest.mark.parametrize("name", [VIT, TEXT])
def test_the_published_part_can_be_read(name: str) -> None:
    there = parts.find(name, silent)
    if name == TEXT:
        text = minilm.read(there)
        assert (text.config.hidden_size, text.config.num_hidden_layers, len(text.tokenizer)) == (384, 7, 30522)
    else:
        config, weights = dinov2.read(there, 168)
        assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (384, 12, 6)
        assert weights["embeddings.position_embeddings"].shape == (1, 145, 384)
