"""Checkpoints as they are found: saved in 8 or 4 bit, packed by other tools, adapters, and damaged ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import BitsAndBytesConfig, LlavaForConditionalGeneration

from tests.kit.tiny import tiny_blip2, tiny_llava, without
from tests.models.adapters.test_whole import vip_llava
from tests.models.test_quantization import FAMILIES
from vlm_demo import Pipeline
from vlm_demo.contracts import ImageTokens
from vlm_demo.errors import ModelNotFound, QuantizationUnavailable, UnsupportedModel, VlmDemoError
from vlm_demo.models import loading, quantization

LAYERS = {"8bit": Linear8bitLt, "4bit": Linear4bit}
HEAD = ["lm_head"]  # what transformers skips by default


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("wide"), dtype=torch.bfloat16, width=128)


def packed(folder: Path, target: Path, quantize: str, model_class: type = LlavaForConditionalGeneration) -> Path:
    """A copy of a checkpoint whose layers, all but the head, were packed before they were saved."""
    settings = {f"load_in_{quantize}": True, "bnb_4bit_quant_type": "nf4", "llm_int8_skip_modules": HEAD}
    config = BitsAndBytesConfig(**settings)
    model = model_class.from_pretrained(folder, quantization_config=config, device_map={"": "cpu"})
    without(folder, target, "*.safetensors")
    model.save_pretrained(target)
    return target


def changed(folder: Path, target: Path, **fields: object) -> Path:
    """A copy with other fields in config.json."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | fields))
    return target


def refused(folder: Path, kind: type[VlmDemoError] = UnsupportedModel, quantize: str = "none") -> str:
    with pytest.raises(kind) as caught:
        loading.load(str(folder), quantize, "cpu")
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message and folder.name in message
    return message


@pytest.mark.parametrize("quantize", LAYERS)
class TestSavedPacked:
    def test_it_answers_as_plain_transformers_does_and_its_layers_say_the_precision(
        self, folder: Path, tmp_path: Path, quantize: str, noise
    ) -> None:
        saved = packed(folder, tmp_path / "saved", quantize)
        pipe = Pipeline.from_pretrained(saved)
        assert pipe.precision == quantize
        kinds = {type(m) for n, m in pipe.model.named_modules() if isinstance(m, torch.nn.Linear) and "head" not in n}
        assert kinds == {LAYERS[quantize]}
        answer = pipe.ask(noise(60, 60), "What is it?", max_new_tokens=4)
        assert answer.tokens and answer.heatmap(0).max() == 1
        plain = LlavaForConditionalGeneration.from_pretrained(saved, device_map={"": "cpu"}).eval()
        view = pipe.view(noise(60, 60))
        with torch.no_grad():
            theirs = plain.get_image_features(view.pixel_values.to(torch.bfloat16)).pooler_output
        ours = pipe.stages().bridge(pipe.stages().encoder([view])).embeddings
        assert torch.nn.functional.cosine_similarity(ours, torch.cat(list(theirs)), dim=-1).min() > 0.99

    def test_packed_before_or_now_gives_the_same_answer(
        self, folder: Path, tmp_path: Path, quantize: str, noise
    ) -> None:
        now = Pipeline.from_pretrained(folder, quantize=quantize)
        without(folder, tmp_path / "saved", "*.safetensors")
        now.model.save_pretrained(tmp_path / "saved")
        expected = now.ask(noise(60, 60), "What is it?", max_new_tokens=6)
        for asked in ("none", quantize):
            before = Pipeline.from_pretrained(tmp_path / "saved", quantize=asked)
            assert before.precision == quantize
            again = before.ask(noise(60, 60), "What is it?", max_new_tokens=6)
            assert [token.id for token in again.tokens] == [token.id for token in expected.tokens]

    def test_another_precision_is_refused(self, folder: Path, tmp_path: Path, quantize: str) -> None:
        saved = packed(folder, tmp_path / "saved", quantize)
        other = "4bit" if quantize == "8bit" else "8bit"
        message = refused(saved, QuantizationUnavailable, other)
        assert f"saved in {quantize} and can't be loaded in {other}" in message

    def test_the_missing_package_is_named(self, folder: Path, tmp_path: Path, quantize: str, monkeypatch) -> None:
        saved = packed(folder, tmp_path / "saved", quantize)
        monkeypatch.setattr(quantization, "missing", lambda: "bitsandbytes")
        assert "needs the package bitsandbytes" in refused(saved, QuantizationUnavailable)


def tokens_of(pipe: Pipeline, picture: Image.Image) -> ImageTokens:
    """The image tokens of a picture behind a question, which some bridges read too."""
    stages, prompt = pipe.stages(), pipe.ask(picture, "So?", max_new_tokens=1).prompt
    return stages.bridge(stages.encoder([pipe.view(picture)]), None, prompt)


OTHERS = {"blip2": tiny_blip2} | {name: parity.make for name, (parity, _, _) in FAMILIES.items()}


@pytest.mark.parametrize("family", OTHERS)
def test_of_every_family_a_packed_bridge_gives_nearly_the_same_image_tokens(tmp_path: Path, family: str, noise) -> None:
    folder = OTHERS[family](tmp_path / "plain")
    plain = Pipeline.from_pretrained(folder)
    saved = packed(folder, tmp_path / "saved", "8bit", type(plain.model))
    pipe = Pipeline.from_pretrained(saved)
    assert pipe.precision == "8bit"
    one, two = (tokens_of(pipeline, noise(60, 60)) for pipeline in (plain, pipe))
    near = torch.nn.functional.cosine_similarity(one.embeddings.float(), two.embeddings.float(), dim=-1)
    assert near.mean() > 0.8


def test_four_bit_that_was_saved_with_float32_computes_in_bf16(folder: Path, tmp_path: Path) -> None:
    saved = packed(folder, tmp_path / "saved", "4bit")
    stored = json.loads((saved / "config.json").read_text())["quantization_config"]
    assert stored["bnb_4bit_compute_dtype"] == "float32"
    layers = [m for m in loading.load(str(saved), device="cpu").model.modules() if type(m) is Linear4bit]
    assert layers and {layer.compute_dtype for layer in layers} == {torch.bfloat16}


def test_a_shape_that_was_packed_and_cannot_be_computed_names_the_way_out(tmp_path: Path) -> None:
    saved = packed(tiny_llava(tmp_path / "narrow", width=32), tmp_path / "saved", "4bit")
    assert "choose the checkpoint that it was made from" in refused(saved, QuantizationUnavailable)


class TestOtherTools:
    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "packed into 4 bit by AWQ"),
            ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "packed into 8 bit by GPTQ"),
            ({"quant_method": "hqq"}, "packed by HQQ"),
            ({"quant_method": "some-new-one"}, "packed by some-new-one"),
        ],
    )
    @pytest.mark.parametrize("part", ["", "text_config"])
    def test_each_is_named(self, checkpoint: Path, tmp_path: Path, config: dict, message: str, part: str) -> None:
        settings = {"quantization_config": config}
        if part:
            settings = {part: json.loads((checkpoint / "config.json").read_text())[part] | settings}
        assert message in refused(changed(checkpoint, tmp_path / "x", **settings))

    @pytest.mark.parametrize(("file", "method"), [("quantize_config.json", "GPTQ"), ("quant_config.json", "AWQ")])
    def test_in_a_file_of_their_own(self, checkpoint: Path, tmp_path: Path, file: str, method: str) -> None:
        folder = changed(checkpoint, tmp_path / "x")
        (folder / file).write_text(json.dumps({"bits": 4, "w_bit": 4}))
        assert f"packed into 4 bit by {method}" in refused(folder)

    @pytest.mark.parametrize(
        "fields",
        [
            {"model_type": "llava_llama", "architectures": ["LlavaLlamaForCausalLM"]},
            {"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"]},
            {"model_type": "llava_mistral", "architectures": None},
        ],
    )
    def test_llavas_original_code(self, checkpoint: Path, tmp_path: Path, fields: dict) -> None:
        message = refused(changed(checkpoint, tmp_path / "x", **fields))
        assert f"LLaVA's original code ({fields['model_type']})" in message and "llava-hf/" in message


class TestAdapters:
    def made(self, folder: Path, **fields: object) -> Path:
        folder.mkdir(exist_ok=True)
        settings = {"peft_type": "LORA", "base_model_name_or_path": "someone/their-llava"} | fields
        (folder / "adapter_config.json").write_text(json.dumps(settings))
        save_file({"base_model.q_proj.lora_A.weight": torch.zeros(2, 2)}, folder / "adapter_model.safetensors")
        return folder

    def test_adapter_and_base_are_named(self, tmp_path: Path) -> None:
        message = refused(self.made(tmp_path / "my-lora"))
        assert message.startswith("my-lora is a LoRA adapter for someone/their-llava") and "merge_and_unload" in message

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"base_model_name_or_path": None}, "LoRA adapter for a model that it does not name"),
            ({"base_model_name_or_path": "a\nb" * 200}, "LoRA adapter for a b"),
            ({"peft_type": "IA3"}, "PEFT adapter for someone/their-llava"),
        ],
    )
    def test_whatever_its_config_says(self, tmp_path: Path, fields: dict, message: str) -> None:
        assert message in refused(self.made(tmp_path / "x", **fields))

    def test_one_with_its_bases_config(self, checkpoint: Path, tmp_path: Path) -> None:
        folder = without(checkpoint, tmp_path / "x", "*.safetensors")
        assert "LoRA adapter for someone/their-llava" in refused(self.made(folder))

    def test_one_on_the_hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.made(tmp_path / "x")
        monkeypatch.setattr("huggingface_hub.snapshot_download", lambda _name, **_: str(made))
        with pytest.raises(UnsupportedModel, match="someone/my-lora is a LoRA adapter for someone/their-llava"):
            loading.load("someone/my-lora")

    def test_a_whole_model_next_to_one_is_loaded(self, checkpoint: Path, tmp_path: Path) -> None:
        folder = changed(checkpoint, tmp_path / "x")
        assert loading.load(str(self.made(folder))).name == "x"

    def test_no_adapter_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "x").mkdir()
        assert "no config.json" in refused(tmp_path / "x", ModelNotFound)


class TestDamagedWeights:
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    @pytest.mark.parametrize("part", ["vision_tower", "multi_modal_projector", "language_model"])
    def test_one_that_is_no_number(self, checkpoint: Path, tmp_path: Path, value: float, part: str) -> None:
        folder = changed(checkpoint, tmp_path / "x")
        held = load_file(folder / "model.safetensors")
        name = next(name for name in held if part in name and name.endswith(("q_proj.weight", "linear_1.weight")))
        held[name][-1, -1] = value
        save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
        message = refused(folder)
        assert "NaN or infinite" in message and name.split(".", 2)[-1] in message

    @pytest.mark.parametrize("quantize", LAYERS)
    def test_while_packing(self, folder: Path, tmp_path: Path, quantize: str) -> None:
        broken = changed(folder, tmp_path / "x")
        held = load_file(broken / "model.safetensors")
        held[next(name for name in held if "language_model" in name and "q_proj" in name)][0, 0] = float("nan")
        save_file(held, broken / "model.safetensors", metadata={"format": "pt"})
        assert "q_proj" in refused(broken, quantize=quantize)

    def test_masks_that_are_made_may_be_infinite(self, checkpoint: Path) -> None:
        module = loading.load(str(checkpoint)).model
        module.register_buffer("mask", torch.full((2,), float("-inf")), persistent=False)
        loading.weights._check_finite(module, "x")
        module.register_buffer("held", torch.full((2,), float("-inf")))
        with pytest.raises(UnsupportedModel, match="in held"):
            loading.weights._check_finite(module, "x")

    @pytest.mark.parametrize("cut", [1, 5000])
    def test_a_file_that_is_cut_off(self, checkpoint: Path, tmp_path: Path, cut: int) -> None:
        folder = changed(checkpoint, tmp_path / "x")
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[:-cut])
        message = refused(folder)
        assert f"is cut off after {len(whole) - cut:,} of its {len(whole):,} bytes: fetch it again" in message

    def test_one_that_ends_in_its_header(self, checkpoint: Path, tmp_path: Path) -> None:
        folder = changed(checkpoint, tmp_path / "x")
        for kept in (0, 5, 100):
            (folder / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes()[:kept])
            assert "damaged" in refused(folder)

    def test_one_that_is_missing(self, checkpoint: Path, tmp_path: Path) -> None:
        folder = without(checkpoint, tmp_path / "x", "*.safetensors")
        LlavaForConditionalGeneration.from_pretrained(checkpoint).save_pretrained(folder, max_shard_size="200KB")
        gone = sorted(folder.glob("model-*.safetensors"))[1]
        gone.unlink()
        assert f"lacks {gone.name}" in refused(folder)

    def test_a_pointer_of_git_lfs(self, checkpoint: Path, tmp_path: Path) -> None:
        folder = changed(checkpoint, tmp_path / "x")
        text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 14131\n"
        (folder / "model.safetensors").write_text(text)
        assert "git lfs pull" in refused(folder)


LOADED = """
import sys
from vlm_demo import Pipeline, VlmDemoError
from PIL import Image
for folder in sys.argv[1:]:
    try:
        pipe = Pipeline.from_pretrained(folder, device="cpu")
        pipe.ask(Image.new("RGB", (50, 50)), "What is it?", max_new_tokens=2)
        print(pipe.precision)
    except VlmDemoError as error:
        print(type(error).__name__)
"""


def test_warnings_of_the_libraries_do_not_reach_the_terminal(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    """As a person's program would run, with nothing set in its environment."""
    held = load_file(checkpoint / "model.safetensors")
    save_file(held | {"more.weight": torch.zeros(2)}, changed(checkpoint, tmp_path / "more") / "model.safetensors")
    short = changed(checkpoint, tmp_path / "short")
    save_file(dict(list(held.items())[1:]), short / "model.safetensors", metadata={"format": "pt"})
    folders = [
        checkpoint,
        packed(folder, tmp_path / "8bit", "8bit"),
        packed(folder, tmp_path / "4bit", "4bit"),
        changed(checkpoint, tmp_path / "awq", quantization_config={"quant_method": "awq", "bits": 4}),
        changed(checkpoint, tmp_path / "first", model_type="llava_llama"),
        changed(checkpoint, tmp_path / "old", torch_dtype="float32", use_flash_attention_2=True),
        tmp_path / "more",
        short,
        vip_llava(tmp_path / "whole"),
    ]
    env = {key: value for key, value in os.environ.items() if key != "TRANSFORMERS_VERBOSITY"}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, folders)],
        capture_output=True, text=True, env=env, cwd=Path(__file__).parents[2], timeout=600, check=False,
    )  # fmt: skip
    refusal = "UnsupportedModel"
    assert done.stdout.split() == ["fp32", "8bit", "4bit", refusal, refusal, "fp32", "fp32", refusal, "fp32"]
    assert done.stderr == ""
