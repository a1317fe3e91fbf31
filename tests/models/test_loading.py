"""Finding and loading checkpoints, and the one sentence for each way in which that fails."""

import json
import logging
import shutil
import sys
from pathlib import Path

import httpx2
import pytest
import torch
from huggingface_hub import errors as hub
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

from tests.tiny import tiny_llava, without
from vlm_demo import Pipeline
from vlm_demo.errors import ModelNotFound, UnsupportedModel, VlmDemoError
from vlm_demo.models import loading
from vlm_demo.models.families import ADAPTERS


def copy(checkpoint: Path, target: Path) -> Path:
    return Path(shutil.copytree(checkpoint, target))


def changed(checkpoint: Path, target: Path, **fields: object) -> Path:
    """A copy with other fields in config.json."""
    folder = copy(checkpoint, target)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    return folder


def sentence(caught: pytest.ExceptionInfo) -> str:
    said = str(caught.value)
    assert said.endswith(".") and "\n" not in said and "Traceback" not in said
    return said


class TestNames:
    def test_an_embedded_name(self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        copy(checkpoint, tmp_path / "models" / "small")
        monkeypatch.setattr(loading, "EMBEDDED", tmp_path / "models")
        assert loading.embedded_names() == ["small"]
        assert Pipeline.from_pretrained("small").name == "small"
        with pytest.raises(ModelNotFound) as caught:
            Pipeline.from_pretrained("smal")
        assert "(small)" in sentence(caught)

    @pytest.mark.parametrize("name", ["", "..", "/", "no such name", "a/b/c", "./gone", "~/gone-for-good", "~no-one/x"])
    def test_what_is_no_model(self, name: str) -> None:
        with pytest.raises(ModelNotFound) as caught:
            loading.load(name)
        sentence(caught)

    @pytest.mark.parametrize("name", ["{}", "a/{}", "/{}", "~{}/x"])
    def test_a_name_that_is_too_long_for_a_file(self, name: str) -> None:
        with pytest.raises(ModelNotFound) as caught:
            loading.load(name.format("x" * 300))
        sentence(caught)

    def test_a_folder_that_is_no_model_and_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFound, match=r"no config\.json"):
            loading.load(str(tmp_path))
        (tmp_path / "file").write_text("x")
        with pytest.raises(ModelNotFound, match="is a file"):
            loading.load(str(tmp_path / "file"))

    def test_a_folder_by_path_object(self, checkpoint: Path) -> None:
        assert Pipeline.from_pretrained(checkpoint).name == checkpoint.name


class TestDamage:
    def test_an_architecture_without_adapter(self, checkpoint: Path, tmp_path: Path) -> None:
        folder = changed(checkpoint, tmp_path / "x", architectures=["BertModel"], model_type="bert")
        with pytest.raises(UnsupportedModel, match="BertModel.*LlavaForConditionalGeneration"):
            loading.load(str(folder))

    def test_a_tower_without_a_fixed_grid(self, checkpoint: Path, tmp_path: Path) -> None:
        folder = changed(checkpoint, tmp_path / "x", vision_config={"model_type": "pixtral"})
        with pytest.raises(UnsupportedModel, match="pixtral"):
            loading.load(str(folder))

    def test_dropping_a_cls_token_that_is_not_there(self, tmp_path: Path) -> None:
        folder = tiny_llava(tmp_path, tower="siglip", vision_feature_select_strategy="default")
        with pytest.raises(UnsupportedModel, match="CLS"):
            loading.load(str(folder))

    @pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "unheard-of"}', "{}"])
    def test_a_damaged_config(self, checkpoint: Path, tmp_path: Path, text: str) -> None:
        folder = copy(checkpoint, tmp_path / "x")
        (folder / "config.json").write_text(text)
        with pytest.raises(UnsupportedModel) as caught:
            loading.load(str(folder))
        sentence(caught)

    def test_weights_that_are_missing_cut_or_pickled(self, checkpoint: Path, tmp_path: Path) -> None:
        bare = without(checkpoint, tmp_path / "bare", "*.safetensors")
        with pytest.raises(UnsupportedModel, match="no weights in safetensors"):
            loading.load(str(bare))
        torch.save(load_file(checkpoint / "model.safetensors"), bare / "pytorch_model.bin")
        with pytest.raises(UnsupportedModel, match="no weights in safetensors"):
            loading.load(str(bare))
        cut = copy(checkpoint, tmp_path / "cut")
        data = (cut / "model.safetensors").read_bytes()
        (cut / "model.safetensors").write_bytes(data[: len(data) // 2])
        with pytest.raises(UnsupportedModel, match="damaged"):
            loading.load(str(cut))

    def test_weights_that_lack_a_tensor_or_have_another_shape(self, checkpoint: Path, tmp_path: Path) -> None:
        folder = copy(checkpoint, tmp_path / "x")
        weights = load_file(folder / "model.safetensors")
        first = next(name for name in weights if "q_proj" in name)
        rest = {name: tensor for name, tensor in weights.items() if name != first}
        save_file(rest, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UnsupportedModel, match="1 weights"):
            loading.load(str(folder))
        save_file(rest | {first: torch.zeros(3, 3)}, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UnsupportedModel, match="do not fit"):
            loading.load(str(folder))

    @pytest.mark.parametrize("names", [("tokenizer*",), ("processor_config.json",)])
    def test_a_missing_tokenizer_or_image_processor(self, checkpoint: Path, tmp_path: Path, names: tuple) -> None:
        with pytest.raises(UnsupportedModel, match="tokenizer or image processor"):
            loading.load(str(without(checkpoint, tmp_path / "x", *names)))

    def test_code_beside_the_weights_is_never_run(self, checkpoint: Path, tmp_path: Path) -> None:
        auto = {"AutoConfig": "trap.Config", "AutoModel": "trap.Model"}
        folder = changed(checkpoint, tmp_path / "x", model_type="trap", auto_map=auto)
        (folder / "trap.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        with pytest.raises(UnsupportedModel):
            loading.load(str(folder))
        assert not (tmp_path / "ran").exists()

    def test_a_device_that_is_not_there(self, checkpoint: Path) -> None:
        for device in ("cuda:77", "abacus"):
            with pytest.raises(VlmDemoError, match=f"no device {device}"):
                loading.load(str(checkpoint), device=device)


class TestMemory:
    """Too little of it must not be called damage."""

    ERRORS = (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        OSError(12, "Cannot allocate memory"),
    )

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("step", ["from_pretrained", "to"])
    def test_a_smaller_way_is_offered(self, checkpoint: Path, monkeypatch, error: Exception, step: str) -> None:
        def fail(*_args: object, **_kwargs: object) -> None:
            raise error

        monkeypatch.setattr(LlavaForConditionalGeneration, step, fail)
        with pytest.raises(VlmDemoError, match="memory of this machine's cpu: load it in 4bit, or ") as caught:
            loading.load(str(checkpoint))
        assert sentence(caught).startswith(checkpoint.name)

    def test_4bit_is_not_offered_to_those_who_have_it(self, checkpoint: Path, monkeypatch) -> None:
        def fail(*_args: object, **_kwargs: object) -> None:
            raise MemoryError

        monkeypatch.setattr(LlavaForConditionalGeneration, "from_pretrained", fail)
        with pytest.raises(VlmDemoError, match="cpu: choose a smaller model"):
            loading.load(str(checkpoint), "4bit")


class TestTemplates:
    @pytest.mark.parametrize("damaged", [b"{", b"[]", b"\xff\xfe"])
    @pytest.mark.parametrize("file", ["chat_template.json", "processor_config.json"])
    def test_a_damaged_file(self, checkpoint: Path, tmp_path: Path, damaged: bytes, file: str) -> None:
        folder = without(checkpoint, tmp_path / "x", "*.jinja")
        (folder / file).write_bytes(damaged)
        with pytest.raises(UnsupportedModel, match="damaged") as caught:
            loading.load(str(folder))
        sentence(caught)

    def test_a_checkpoint_without_one_gets_its_familys(self, tmp_path: Path, noise) -> None:
        folder = tiny_llava(tmp_path, template=None)
        answer = Pipeline.from_pretrained(folder).ask(noise(50, 50), "What is it?", max_new_tokens=1)
        assert answer.prompt.text == "USER: <image>\nWhat is it? ASSISTANT:"

    def test_the_older_file_is_read_too(self, checkpoint: Path, tmp_path: Path, noise) -> None:
        folder = without(checkpoint, tmp_path / "x", "*.jinja")
        told = "{% for m in messages %}<image>{{ m['content'][1]['text'] }}{% endfor %} so:"
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": told}))
        answer = Pipeline.from_pretrained(folder).ask(noise(50, 50), "What is it?", max_new_tokens=1)
        assert answer.prompt.text == "<image>What is it? so:"


def response(code: int) -> httpx2.Response:
    return httpx2.Response(code, request=httpx2.Request("GET", "https://hub.invalid/x"))


class TestHub:
    """Without a network: the hub's answers are made up."""

    NAME = "someone/some-model"

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (hub.GatedRepoError("gated", response=response(403)), "accepted its licence"),
            (hub.RepositoryNotFoundError("gone", response=response(404)), "no model someone/some-model"),
            (hub.LocalEntryNotFoundError("not in the cache"), "cannot be reached"),
            (hub.OfflineModeIsEnabled("offline"), "cannot be reached"),
            (httpx2.ConnectError("no route"), "cannot be reached"),
            (hub.HfHubHTTPError("broken", response=response(500)), "cannot be reached"),
            (OSError(28, "No space left on device"), "too full"),
        ],
    )
    def test_each_failure_has_its_own_sentence(self, error: Exception, said: str, monkeypatch) -> None:
        def fail(*_args: object, **_kwargs: object) -> None:
            raise error

        monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
        with pytest.raises(ModelNotFound, match=said) as caught:
            loading.load(self.NAME)
        sentence(caught)

    def test_offline_for_real(self) -> None:
        with pytest.raises(ModelNotFound, match="cannot be reached"):
            loading.load("nobody-at-all/nothing-to-see")

    def test_the_config_is_fetched_and_judged_before_the_weights(self, checkpoint, tmp_path, monkeypatch) -> None:
        asked = []
        folder = changed(checkpoint, tmp_path / "x", architectures=["BertModel"], model_type="bert")

        def fetch(_name: str, allow_patterns: list[str], **_kwargs: object) -> str:
            asked.append(allow_patterns)
            return str(folder)

        monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
        with pytest.raises(UnsupportedModel):
            loading.load(self.NAME)
        assert asked == [["config.json"]]

    def test_downloading_reports_progress_and_never_pickles(self, checkpoint: Path, monkeypatch) -> None:
        told, asked = [], []

        def fetch(_name: str, allow_patterns: list[str], tqdm_class: type | None = None) -> str:
            asked.extend(allow_patterns)
            if tqdm_class:
                with tqdm_class(total=2_000_000_000, unit="B", unit_scale=True, name="hub") as bar:
                    bar.update(500_000_000)
                with tqdm_class(total=3, desc="files") as files:
                    files.update(1)
            return str(checkpoint)

        monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
        loaded = loading.load(self.NAME, progress=lambda fraction, text: told.append((fraction, text)))
        assert loaded.name == self.NAME
        assert (0.25, "Downloading someone/some-model: 0.50 of 2.00 GB") in told
        assert told[-1] == (1.0, "someone/some-model is ready")
        assert not any("bin" in pattern or "py" in pattern for pattern in asked)


def test_loading_says_nothing_by_itself(checkpoint: Path, capfd, caplog: pytest.LogCaptureFixture) -> None:
    for quantize in ("none", "4bit"):
        loading.load(str(checkpoint), quantize)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_catalog_is_complete_and_runs_here() -> None:
    entries = json.loads(loading.CATALOG.read_text())
    assert {entry["id"] for entry in entries if "/" not in entry["id"]} >= {"llava", "clip", "blip2", "idefics"}
    for entry in entries:
        assert set(entry) == {
            "name",
            "id",
            "family",
            "parameters",
            "licence",
            "download_bytes",
            "memory_bytes",
            "good_at",
            "supported",
        }
        sizes = list(entry["memory_bytes"].values())
        # What has no language model can't be quantized.
        precisions = ["bf16"] if entry["family"] == "clip" else ["bf16", "8bit", "4bit"]
        assert list(entry["memory_bytes"]) == precisions and sizes == sorted(set(sizes), reverse=True)
        assert entry["family"] in {module for module, _ in ADAPTERS.values()}
        assert "/" not in entry["id"] or loading.HUB_ID.fullmatch(entry["id"])
    assert entries[0]["id"] == "llava"


def test_the_catalog_offers_no_embedded_model_that_is_not_there(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text("{}")
    monkeypatch.setattr(loading, "EMBEDDED", tmp_path)
    offered = [entry["id"] for entry in loading.catalog()]
    assert [name for name in offered if "/" not in name] == ["clip"]
    assert "llava-hf/llava-1.5-7b-hf" in offered


def test_a_torchvision_that_does_not_load_is_named(checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    """Its own error speaks of an operator that does not exist, and transformers' of processors."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(VlmDemoError, match="^The torchvision that is installed .*pip uninstall torchvision"):
        loading.load(str(checkpoint))
