"""Embedded models that are put together: the right weights in the right places, whole or not at all, and transformers
answers as the pipeline does."""

from __future__ import annotations

import json
import re
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoProcessor, AutoTokenizer, LlavaForConditionalGeneration

from tests.kit import composed, fresh_imports
from tests.kit.composed import silent
from tests.kit.sentences import sentence
from vlm_demo import Pipeline
from vlm_demo.checks.legible_height import read_legibility, write_legibility
from vlm_demo.cli.main import main
from vlm_demo.engines import offers
from vlm_demo.errors import ModelNotFound, UnsupportedModel, VlmDemoError
from vlm_demo.models import embedded, loading, parts, smollm2, user_cache
from vlm_demo.models.builders import Misfit, lora
from vlm_demo.models.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel, from_published
from vlm_demo.ui.components import model_menu


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Tiny parts, installed, and a separate cache for this test; gives the parts' weight files."""
    monkeypatch.setattr(user_cache, "folder", lambda: tmp_path / "cache" / "vlm_demo")
    return composed.install(tmp_path / "site", monkeypatch)


@pytest.fixture
def shipped(files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped files of an embedded model ``small``."""
    monkeypatch.setattr(loading, "EMBEDDED", tmp_path / "models")
    return composed.ship(tmp_path / "models" / "small")


class Published(nn.Module):
    """The published network, layer after layer with its batch normalization, up to what a token holds."""

    def __init__(self, state: dict[str, torch.Tensor], config: EfficientNetLiteConfig) -> None:
        super().__init__()
        self.state, self.config = state, config

    def layer(self, x, conv: str, norm: str, stride: int = 1, groups: int = 1, relu: bool = True):
        weight = self.state[f"{conv}.weight"]
        kernel, side = weight.shape[-1], x.shape[-1]
        extra = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        x = nn.functional.pad(x, [extra // 2, extra - extra // 2] * 2)
        x = nn.functional.conv2d(x, weight, stride=stride, groups=groups)
        batch = nn.BatchNorm2d(len(weight), eps=1e-3).eval()
        batch.load_state_dict(
            {name.removeprefix(f"{norm}."): value for name, value in self.state.items() if name.startswith(f"{norm}.")},
            strict=False,
        )
        x = batch.double()(x)
        return nn.functional.relu6(x) if relu else x

    def forward(self, x):
        x, number = self.layer(x, "_conv_stem", "_bn0", 2), 0
        for i, (blocks, _, stride, expansion, _) in enumerate(self.config.stages):
            for j in range(blocks):
                name, y = f"_blocks.{number}", x
                if expansion != 1:
                    y = self.layer(y, f"{name}._expand_conv", f"{name}._bn0")
                y = self.layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stride if j == 0 else 1, groups=y.shape[1])
                y = self.layer(y, f"{name}._project_conv", f"{name}._bn2", relu=False)
                x, number = x + y if x.shape == y.shape and j else y, number + 1
            if i == self.config.fine_stage:
                fine = x
        return self.layer(x, "_conv_head", "_bn1"), fine


class TestTower:
    def test_tokens_are_the_published_networks_two_levels_and_mean_colours(self) -> None:
        # In float64, for convolutions of other sizes round differently.
        state, config = (
            {name: tensor.double() for name, tensor in composed.published().items()},
            EfficientNetLiteConfig(),
        )
        tower = EfficientNetLiteModel(config).double().eval()
        tower.load_state_dict(from_published(state, config))
        pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1)).double()
        with torch.no_grad():
            tokens = tower(pixels).last_hidden_state
            last, fine = Published(state, config)(pixels)
        assert tokens.shape == (1, 9, 1808) and tokens.std() > 0.01
        for number in range(9):
            row, column = divmod(number, 3)
            under = fine[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]  # [channels, 2, 2]
            square = pixels[0, :, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
            colours = square.reshape(3, 4, 8, 4, 8).mean((2, 4))
            expected = torch.cat([last[0, :, row, column], under.flatten(), colours.flatten()])
            torch.testing.assert_close(tokens[0, number], expected, atol=1e-9, rtol=1e-9)


class TestLora:
    def test_it_is_what_a_layer_with_an_adapter_computes(self) -> None:
        weight, down, up, x = torch.randn(6, 4), torch.randn(2, 4), torch.randn(6, 2), torch.randn(3, 4)
        trained = {"lora.layers.0.mlp.up_proj.A": down, "lora.layers.0.mlp.up_proj.B": up, "projector.x": x}
        weights = {"model.layers.0.mlp.up_proj.weight": weight, "model.norm.weight": x}
        merged = lora.merged(weights, trained, alpha=8)
        expected = x @ weight.T + (8 / 2) * (x @ down.T) @ up.T
        torch.testing.assert_close(x @ merged["model.layers.0.mlp.up_proj.weight"].T, expected)
        assert merged["model.norm.weight"] is x and merged.keys() == weights.keys()

    @pytest.mark.parametrize(
        "trained",
        [
            {"A": (2, 4)},
            {"A": (2, 4), "B": (6, 3)},
            {"A": (2, 5), "B": (6, 2)},
            {"A": (2, 4), "B": (6, 2), "C": (1,)},
        ],
    )
    def test_what_does_not_fit_is_refused(self, trained: dict[str, tuple[int, ...]]) -> None:
        weights = {"model.layers.0.mlp.up_proj.weight": torch.zeros(6, 4)}
        tensors = {f"lora.layers.0.mlp.up_proj.{name}": torch.zeros(shape) for name, shape in trained.items()}
        with pytest.raises(Misfit):
            lora.merged(weights, tensors, 8)
        with pytest.raises(Misfit):
            lora.merged({}, tensors, 8)


class TestCheckpoint:
    def test_every_weight_is_its_parts_with_what_was_trained(self, shipped: Path, files: dict[str, Path]) -> None:
        refit = composed.trained(1, refit=("head.bias", "stages.6.0.project.bias"))
        composed.ship(shipped, refit)
        folder = embedded.assembled(shipped, silent)
        model = LlavaForConditionalGeneration.from_pretrained(folder)
        assert model.dtype == torch.bfloat16 and {p.dtype for p in model.parameters()} == {torch.bfloat16}
        words = smollm2.read(files[composed.LANGUAGE]).weights
        for i in range(composed.LAYERS):
            for path in composed.SHAPES:
                name = f"layers.{i}.{path}"
                update = 32 / composed.RANK * refit[f"lora.{name}.B"] @ refit[f"lora.{name}.A"]
                held = model.model.language_model.get_parameter(f"{name}.weight")
                expected = (words[f"model.{name}.weight"] + update).bfloat16()
                torch.testing.assert_close(held.data, expected, atol=0.02, rtol=0.01)
        assert torch.equal(model.lm_head.weight, words["model.embed_tokens.weight"].bfloat16())
        for name in ("linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias"):
            held = model.model.multi_modal_projector.get_parameter(name)
            assert torch.equal(held, refit[f"projector.{name}"].bfloat16())
        tower = from_published(composed.published(), EfficientNetLiteConfig())
        for name, held in model.model.vision_tower.state_dict().items():
            assert torch.equal(held, refit.get(f"tower.{name}", tower[name]).bfloat16()), name

    def test_its_settings(self, shipped: Path) -> None:
        folder = embedded.assembled(shipped, silent)
        config = AutoConfig.from_pretrained(folder)
        assert config.architectures == ["LlavaForConditionalGeneration"] and config.image_token_id == 4
        assert (config.vision_feature_layer, config.vision_feature_select_strategy) == (-1, "full")
        assert (config.vision_config.model_type, config.vision_config.hidden_size) == ("efficientnet_lite", 1808)
        assert (config.image_seq_length, config.text_config.model_type) == (81, "llama")
        processor = AutoProcessor.from_pretrained(folder)
        made = processor(images=Image.new("RGB", (500, 240), "red"), text="<image>\nHi", return_tensors="pt")
        assert made["pixel_values"].shape == (1, 3, 288, 288) and (made["input_ids"] == 4).sum() == 81
        # Padded to a square with the mean colour, and brought from 0..1 to -1..1.
        assert made["pixel_values"][0, :, 144, 144].tolist() == [1, -1, -1]
        assert made["pixel_values"][0, :, 2, 144].abs().max() < 0.01
        assert processor.chat_template == smollm2.CHAT_TEMPLATE
        stored = json.loads((folder / "generation_config.json").read_text())
        settings = {"do_sample": False, "max_new_tokens": 128, "eos_token_id": 2, "pad_token_id": 0}
        assert settings.items() <= stored.items()
        assert (folder / "README.md").read_text() == "# A card\n" and not (folder / "figures.json").exists()
        assert AutoTokenizer.from_pretrained(folder).decode([1, 4], skip_special_tokens=True) == ""

    def test_greedy_tokens_are_those_of_plain_transformers(self, shipped: Path, tmp_path: Path, noise) -> None:
        folder = embedded.assembled(shipped, silent)
        # In bf16 two words may be equally likely to the last digit.
        copied = tmp_path / "wide"
        shutil.copytree(folder, copied)
        model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        model.save_pretrained(copied)
        pipe, processor = Pipeline.from_pretrained(copied), AutoProcessor.from_pretrained(copied)
        picture = noise(300, 200)
        content = [{"type": "text", "text": "What is it? 12"}, {"type": "image"}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(images=picture, text=text, return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        answer = pipe.ask(picture, "What is it? 12", max_new_tokens=12)
        assert answer.prompt.text == text and list(answer.prompt.ids) == inputs["input_ids"][0].tolist()
        assert [token.id for token in answer.tokens] == ids.tolist()[: len(answer.tokens)] and len(answer.tokens) > 3
        assert answer.heatmap(0).shape == (200, 300)

    def test_the_grid_is_9_by_9_and_stop_is_asked_between_the_towers_blocks(self, shipped: Path, noise) -> None:
        pipe = Pipeline.from_pretrained("small")
        assert pipe.name == "small" and pipe.family == "llava"
        view = pipe.view(noise(300, 200))
        assert view.grid == (9, 9) and len(view.boxes) == 81
        assert len(pipe.stages().family.encoder_layers) == 21 and pipe.stages().family.leading_tokens == 0
        asked = []
        pipe.stages().encoder(view, cancelled=lambda: asked.append(1) or False)
        assert len(asked) >= 21


class TestCache:
    def test_it_is_put_together_once_and_says_so_before(self, shipped: Path) -> None:
        announced = loading.announcement("small")
        assert re.fullmatch(r"small is put together once and then takes \d+ MB in \S+vlm_demo\.", announced)
        assert loading.announcement(str(shipped)) == announced and loading.announcement("no such model") == ""
        reports: list[tuple[float | None, str]] = []
        folder, shown = loading.resolve("small", lambda *step: reports.append(step))
        assert shown == "small" and all("Putting small together" in text for _, text in reports) and len(reports) > 4
        fractions = [fraction for fraction, _ in reports if fraction is not None]
        assert fractions == sorted(fractions) and fractions[0] > 0 and fractions[-1] < 1
        reports.clear()
        assert loading.resolve("small", lambda *step: reports.append(step)) == (folder, "small") and not reports
        assert loading.announcement("small") == "" and loading.checkpoint("small") == folder
        assert loading.resolve(str(shipped), silent) == (folder, "small")
        assert [place.name for place in folder.parent.iterdir()] == [folder.name]

    def test_downloads_are_announced_and_what_is_kept_of_them_counts(
        self, shipped: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def size(announced: str) -> int:
            return int(re.search(r"takes (\d+) MB", announced).group(1))

        before = size(loading.announcement("small"))
        lacking = SimpleNamespace(wheel_bytes=5_000_000, bytes=7_000_000)
        monkeypatch.setattr(parts, "missing", lambda _: [lacking, lacking])
        announced = loading.announcement("small")
        assert "after 10 MB of downloads" in announced and size(announced) == before + 14

    def test_new_weights_give_a_new_folder_and_the_old_one_goes(self, shipped: Path) -> None:
        kept = composed.ship(shipped.parent / "small-vit", composed.trained(7))
        other, first = embedded.assembled(kept, silent), embedded.assembled(shipped, silent)
        composed.ship(shipped, composed.trained(1))
        second = embedded.assembled(shipped, silent)
        assert second != first and not first.exists() and second.exists() and other.exists()
        (shipped / "vlm_demo.json").write_text("{}")
        third = embedded.assembled(shipped, silent)
        assert third != second and (third / "vlm_demo.json").read_text() == "{}"

    @pytest.mark.parametrize("by", ["name", "folder"])
    def test_what_is_fitted_is_kept_with_the_shipped_files_and_counts_from_the_next_load(
        self, shipped: Path, by: str
    ) -> None:
        name = "small" if by == "name" else str(shipped)
        loaded = loading.load(name)
        assert loaded.settings_folder == shipped and loaded.folder != shipped
        write_legibility(loaded.settings_folder, 12.0, 8)
        again = loading.load(name)
        assert read_legibility(again.folder) == 12 and not loaded.folder.exists()
        assert loading.load(str(again.folder)).settings_folder == again.folder

    @pytest.mark.parametrize("damage", ["a file is gone", "a file is cut", "no manifest"])
    def test_half_a_folder_is_not_taken(self, shipped: Path, damage: str) -> None:
        folder = embedded.assembled(shipped, silent)
        weights = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
        if damage == "a file is gone":
            (folder / "model.safetensors").unlink()
        elif damage == "a file is cut":
            (folder / "model.safetensors").write_bytes(b"half")
        else:
            (folder / embedded.MANIFEST).unlink()
        assert loading.announcement("small")
        assert embedded.assembled(shipped, silent) == folder
        again = load_file(folder / "model.safetensors")
        assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())

    def test_an_interruption_leaves_nothing(self, shipped: Path) -> None:
        def stop(fraction: float | None, _text: str) -> None:
            if fraction and fraction > 0.75:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            embedded.assembled(shipped, stop)
        assert list(user_cache.folder().iterdir()) == []

    def test_two_at_once_both_get_the_whole(self, shipped: Path) -> None:
        both = threading.Barrier(2, timeout=60)

        def meet(fraction: float | None, _text: str) -> None:
            if fraction == 0.8:
                both.wait()

        found: list[Path] = []
        threads = [threading.Thread(target=lambda: found.append(embedded.assembled(shipped, meet))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(found) == 2 and found[0] == found[1] and embedded.is_whole(found[0])
        assert list(user_cache.folder().iterdir()) == [found[0]]

    def test_a_full_disk_is_seen_before(self, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(user_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(VlmDemoError, match="The disk is too full for small: it takes .* are free") as caught:
            embedded.assembled(shipped, silent)
        sentence(caught)

    def test_a_disk_that_fills_meanwhile_is_reported(self, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_args: object, **_options: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(LlavaForConditionalGeneration, "save_pretrained", full)
        with pytest.raises(VlmDemoError, match="The disk is too full for small") as caught:
            embedded.assembled(shipped, silent)
        sentence(caught)
        assert list(user_cache.folder().iterdir()) == []


class TestDamage:
    def test_other_parts_are_refused(self, shipped: Path, files: dict[str, Path]) -> None:
        with files[composed.TOWER].open("ab") as file:
            file.write(b"!")
        with pytest.raises(UnsupportedModel, match="holds other weights") as caught:
            embedded.assembled(shipped, silent)
        sentence(caught)

    @pytest.mark.parametrize(
        ("name", "shape"),
        [
            ("tower.no_such_layer", (3,)),
            ("tower.head.bias", (3,)),
            ("lora.layers.0.mlp.up_proj.A", (2, 3)),
            ("lora.layers.9.mlp.up_proj.A", (2, 64)),
            ("projector.linear_1.weight", (64, 5)),
            ("projector.linear_3.weight", (64, 64)),
            ("queries", (4, 64)),
        ],
    )
    def test_trained_weights_that_do_not_fit(self, shipped: Path, name: str, shape: tuple[int, ...]) -> None:
        composed.ship(shipped, composed.trained() | {name: torch.zeros(shape)})
        with pytest.raises(UnsupportedModel, match="trained weights of small do not fit") as caught:
            embedded.assembled(shipped, silent)
        sentence(caught)

    def test_trained_weights_that_lack_something(self, shipped: Path) -> None:
        tensors = composed.trained()
        del tensors["projector.linear_2.bias"]
        composed.ship(shipped, tensors)
        with pytest.raises(UnsupportedModel, match="trained weights of small do not fit"):
            embedded.assembled(shipped, silent)

    def test_trained_weights_that_are_damaged_or_missing(self, shipped: Path) -> None:
        (shipped / composed.TRAINED).write_bytes(b"half")
        with pytest.raises(UnsupportedModel, match="trained.safetensors of small is damaged"):
            embedded.assembled(shipped, silent)
        (shipped / composed.TRAINED).unlink()
        with pytest.raises(UnsupportedModel, match="trained.safetensors of small is missing"):
            embedded.assembled(shipped, silent)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "damaged"),
            ("[]", "damaged"),
            ("{}", "damaged"),
            ('{"family": "gpt", "language_model": "a", "vision_tower": "b", "image_size": 1, "lora_alpha": 1}', "gpt"),
            (
                '{"family": "llava", "language_model": "a", "vision_tower": "b", "image_size": 1, "lora_alpha": 1}',
                "part a",
            ),
        ],
    )
    def test_a_recipe_that_cannot_be_followed(self, shipped: Path, text: str, message: str) -> None:
        (shipped / "recipe.json").write_text(text)
        with pytest.raises(UnsupportedModel, match=message) as caught:
            loading.load("small")
        sentence(caught)


class TestNames:
    def test_both_kinds_are_embedded(self, shipped: Path, checkpoint: Path) -> None:
        shutil.copytree(checkpoint, shipped.parent / "ready")
        (shipped.parent / "notes").mkdir()
        assert loading.embedded_names() == ["ready", "small"]
        assert loading.checkpoint("ready") == shipped.parent / "ready"
        assert loading.family_of("small") == "llava" and loading.family_of("ready") is None
        assert not user_cache.folder().exists()

    def test_the_menu_is_drawn_without_putting_anything_together(self, shipped: Path) -> None:
        offers.writes.cache_clear()
        offered = model_menu.choices("some/folder", "none", "cpu")
        offers.writes.cache_clear()
        assert offered["small"].label.startswith("small · embedded") and not user_cache.folder().exists()

    def test_an_unknown_name(self, shipped: Path) -> None:
        with pytest.raises(ModelNotFound, match="no embedded model smal: choose one of small") as caught:
            loading.checkpoint("smal")
        sentence(caught)


class TestExport:
    def test_it_is_an_ordinary_checkpoint(self, shipped: Path, tmp_path: Path, capsys) -> None:
        assert main(["export", "small", str(tmp_path / "a" / "b")]) == 0
        printed = capsys.readouterr()
        assert printed.err.startswith("small is put together once") and str(tmp_path / "a" / "b") in printed.out
        assert LlavaForConditionalGeneration.from_pretrained(tmp_path / "a" / "b").config.image_token_id == 4
        assert not (tmp_path / "a" / "b" / embedded.MANIFEST).exists()
        assert Pipeline.from_pretrained(tmp_path / "a" / "b").name == "b"

    def test_it_overwrites_nothing(self, shipped: Path, tmp_path: Path, capsys) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "mine.txt").write_text("mine")
        for target in (tmp_path / "full", tmp_path / "full" / "mine.txt"):
            assert main(["export", "small", str(target)]) == 2
            assert "is not an empty folder" in capsys.readouterr().err
        assert [file.name for file in (tmp_path / "full").iterdir()] == ["mine.txt"]
        assert main(["export", "someone/some-model", str(tmp_path / "x")]) == 2


CONFIG = "from transformers import AutoConfig as A"
MODEL = "from transformers import LlavaForConditionalGeneration as L"
PARTLY = "import transformers.models.auto.auto_factory"
DEEP = "from transformers.models.llava.modeling_llava import LlavaForConditionalGeneration as L"
OURS = "import vlm_demo"
ORDERS = [(OURS, CONFIG, MODEL), (CONFIG, OURS, MODEL), (OURS, PARTLY, DEEP, CONFIG)]


def test_transformers_loads_it_after_import_vlm_demo(shipped: Path) -> None:
    folder = embedded.assembled(shipped, silent)
    loads = (
        f"assert type(A.from_pretrained({str(folder)!r}).vision_config).__name__ == 'EfficientNetLiteConfig'\n"
        f"assert type(L.from_pretrained({str(folder)!r}).model.vision_tower).__name__ == 'EfficientNetLiteModel'\n"
        "import sys\nassert not [finder for finder in sys.meta_path if type(finder).__name__ == '_ImportHook']"
    )
    fresh_imports.run_each(["\n".join([*order, loads]) for order in ORDERS])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published parts with a projector of random numbers and no LoRA, put together."""
    place = tmp_path_factory.mktemp("real")
    width = 576
    tensors = {
        "projector.linear_1.weight": torch.randn(width, composed.SEEN) * 0.02,
        "projector.linear_1.bias": torch.zeros(width),
        "projector.linear_2.weight": torch.randn(width, width) * 0.02,
        "projector.linear_2.bias": torch.zeros(width),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_cache, "folder", lambda: place / "cache")
        return embedded.assembled(composed.ship(place / "llava", tensors), silent)


class TestPublishedParts:
    def test_it_is_a_language_model_that_answers(self, real: Path) -> None:
        model = LlavaForConditionalGeneration.from_pretrained(real, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(real)
        asked = [{"role": "user", "content": "What is the capital of France?"}]
        text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(text, return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=16)[0, inputs["input_ids"].shape[1] :]
        assert "Paris" in tokenizer.decode(ids)

    def test_it_holds_the_sizes_of_the_published_parts(self, real: Path) -> None:
        config = AutoConfig.from_pretrained(real).text_config
        sizes = (config.num_hidden_layers, config.hidden_size, config.intermediate_size, config.vocab_size)
        assert sizes == (30, 576, 1536, 49152) and config.max_position_embeddings == 8192
        assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (9, 3, 64)
        assert config.rope_parameters["rope_theta"] == 100000 and config.rms_norm_eps == 1e-5
        assert config.tie_word_embeddings
        stored = sum(parts.PARTS[name].stored for name in parts.DEFAULT)
        assert 0 <= (real / "model.safetensors").stat().st_size - stored < 10_000_000

    def test_its_greedy_tokens_are_those_of_plain_transformers(self, real: Path, tmp_path: Path, noise) -> None:
        wide = Path(shutil.copytree(real, tmp_path / "wide"))
        model = LlavaForConditionalGeneration.from_pretrained(real, dtype=torch.float32).eval()
        model.save_pretrained(wide)
        processor, pipe, picture = AutoProcessor.from_pretrained(real), Pipeline.from_pretrained(wide), noise(300, 200)
        content = [{"type": "image"}, {"type": "text", "text": "What is 3 + 4?"}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(images=picture, text=text, return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=8)[0, inputs["input_ids"].shape[1] :].tolist()
        answer = pipe.ask(picture, "What is 3 + 4?", max_new_tokens=8)
        assert list(answer.prompt.ids) == inputs["input_ids"][0].tolist()
        assert [token.id for token in answer.tokens] == [token for token in ids if token != 2]
