"""Finding and loading checkpoints, and the one sentence for each way in which that fails."""

import argparse
import hashlib
import inspect
import json
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import httpx2
import numpy as np
import pytest
import torch
from huggingface_hub import constants as hub_constants
from huggingface_hub import errors as hub
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

from tests.kit.sentences import sentence
from tests.kit.tiny import tiny_clip, tiny_llava, without
from vlm_demo import Pipeline, app, trust
from vlm_demo.cli.main import main
from vlm_demo.errors import BadSetting, ModelNotFound, UnsupportedModel, VlmDemoError
from vlm_demo.models import download, loading, quantization
from vlm_demo.trust import NONE, Trust


def copy(checkpoint: Path, target: Path) -> Path:
    return Path(shutil.copytree(checkpoint, target))


def changed(checkpoint: Path, target: Path, **fields: object) -> Path:
    """A copy with other fields in config.json."""
    folder = copy(checkpoint, target)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    return folder


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
        with pytest.raises(UnsupportedModel, match="cut off"):
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

    def test_a_device_that_is_not_there(self, checkpoint: Path) -> None:
        for device in ("cuda:77", "abacus"):
            with pytest.raises(VlmDemoError, match=f"no device {device}"):
                loading.load(str(checkpoint), device=device)


class TestAttention:
    """A config can't name code of the hub as its attention: transformers would fetch it and run it (CVE-2026-4372)."""

    KERNEL = "kernels-community/flash-attn2"
    CONFIGS: ClassVar[dict[str, dict]] = {
        "public": {"attn_implementation": KERNEL},
        "private": {"_attn_implementation": KERNEL},
        "internal": {"_attn_implementation_internal": KERNEL},
        "of a part": {"attn_implementation": {"text_config": KERNEL}},
        "with a version": {"attn_implementation": f"{KERNEL}@v1:forward"},
        "paged": {"attn_implementation": f"paged|{KERNEL}"},
    }

    @pytest.fixture
    def fetched(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The names that transformers asks the hub for."""
        names: list[str] = []
        monkeypatch.setattr(
            "transformers.modeling_utils.lazy_import_flash_attention", lambda name, **_: names.append(name)
        )
        return names

    def test_transformers_by_itself_would(self, checkpoint: Path, tmp_path: Path, fetched: list[str]) -> None:
        folder = changed(checkpoint, tmp_path / "x", **self.CONFIGS["public"])
        LlavaForConditionalGeneration.from_pretrained(folder)
        assert self.KERNEL in fetched

    @pytest.mark.parametrize("kind", CONFIGS)
    @pytest.mark.parametrize("part", ["", "text_config", "vision_config"])
    def test_it_is_refused(
        self, checkpoint: Path, tmp_path: Path, monkeypatch, fetched: list[str], kind: str, part: str
    ) -> None:
        named = self.CONFIGS[kind]
        if part:
            named = {part: json.loads((checkpoint / "config.json").read_text())[part] | named}
        folder = changed(checkpoint, tmp_path / "x", **named)
        monkeypatch.setattr(loading.weights, "load", None)
        for allowed in (NONE, Trust(remote_code=True)):
            with pytest.raises(UnsupportedModel, match="attention code from elsewhere") as caught:
                loading.load(str(folder), trust=allowed)
            assert self.KERNEL in sentence(caught)
        assert not fetched

    def test_in_a_config_for_other_releases_too(self, checkpoint: Path, tmp_path: Path) -> None:
        folder = changed(checkpoint, tmp_path / "x", configuration_files=["config.4.0.0.json"])
        other = json.loads((folder / "config.json").read_text()) | self.CONFIGS["public"]
        (folder / "config.4.0.0.json").write_text(json.dumps(other))
        with pytest.raises(UnsupportedModel, match=r"config\.4\.0\.0\.json .* attention code from elsewhere"):
            loading.load(str(folder))

    def test_other_names_are_not_followed(self, checkpoint: Path, tmp_path: Path, fetched: list[str]) -> None:
        """In place of a FlashAttention that is not installed transformers takes a kernel of the hub."""
        config = json.loads((checkpoint / "config.json").read_text())
        flash = {"attn_implementation": "flash_attention_2"}
        folder = changed(checkpoint, tmp_path / "x", **flash, text_config=config["text_config"] | flash)
        model = loading.load(str(folder)).model
        for part in (model, model.model.language_model, model.model.vision_tower):
            assert part.config._attn_implementation == "sdpa"
        assert not fetched


class TestSettings:
    @pytest.mark.parametrize("dtype", [torch.float16, "float16", "torch.float16"])
    def test_a_dtype(self, checkpoint: Path, dtype: torch.dtype | str) -> None:
        pipe = Pipeline.from_pretrained(checkpoint, dtype=dtype)
        assert pipe.precision == "fp16" and {parameter.dtype for parameter in pipe.model.parameters()} == {
            torch.float16
        }

    def test_as_stored(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise) -> None:
        monkeypatch.setattr(quantization, "fast_bf16", lambda _device: False)
        folder = tiny_llava(tmp_path, dtype=torch.bfloat16)
        assert Pipeline.from_pretrained(folder).precision == "fp32"
        pipe = Pipeline.from_pretrained(folder, dtype="auto")
        assert pipe.precision == "bf16" and pipe.ask(noise(50, 50), "What is it?", max_new_tokens=2).tokens

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"dtype": "int8"}, "no dtype int8"),
            ({"dtype": torch.int64}, "no dtype torch.int64"),
            ({"dtype": "float16", "quantize": "4bit"}, "leave out dtype"),
            ({"device_map": "balanced"}, "choose one of auto, cpu, cuda"),
            ({"device_map": {"": 0}}, "choose one of auto, cpu, cuda"),
            ({"device_map": "cpu", "device": "cpu"}, "give one of them"),
            ({"revision": "main"}, "leave revision out"),
        ],
        ids=str,
    )
    def test_what_cannot_be_is_refused_in_one_sentence(self, checkpoint: Path, settings: dict, message: str) -> None:
        with pytest.raises(BadSetting, match=message) as caught:
            Pipeline.from_pretrained(checkpoint, **settings)
        sentence(caught)

    def test_a_device_map_is_a_device(self) -> None:
        maps = (None, "cuda:1"), ("cpu", None), ("cuda", None), ("auto", None)
        assert [loading.device_of(*given) for given in maps] == ["cuda:1", "cpu", "cuda", None]

    @pytest.mark.parametrize("name", ["llava", "no such name", "a/b/c"])
    def test_only_models_of_the_hub_have_revisions(self, name: str) -> None:
        with pytest.raises(BadSetting, match="leave revision out") as caught:
            loading.load(name, revision="main")
        sentence(caught)

    @pytest.mark.parametrize("revision", ["", "../main", "a/../b", "/etc", "a b"])
    def test_a_revision_is_a_name(self, revision: str) -> None:
        with pytest.raises(BadSetting, match="no revision") as caught:
            loading.load("someone/some-model", revision=revision)
        sentence(caught)

    def test_a_revision_is_asked_for(self, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str | None] = []

        def fetch(_name: str, revision: str | None = None, **_: object) -> str:
            asked.append(revision)
            return str(checkpoint)

        def info(_name: str, revision: str | None = None, **_: object) -> SimpleNamespace:
            asked.append(revision)
            return SimpleNamespace(sha="a" * 40, siblings=[])

        monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
        monkeypatch.setattr("huggingface_hub.model_info", info)
        loading.load("someone/some-model", revision="v1.0")
        assert asked == ["v1.0"] * 3
        asked.clear()
        loading.load("someone/some-model")
        assert asked == [None] * 3

    def test_a_revision_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise hub.RevisionNotFoundError("gone", response=response(404))

        monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
        with pytest.raises(ModelNotFound, match="has no revision v9") as caught:
            loading.load("someone/some-model", revision="v9")
        sentence(caught)


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

    @pytest.mark.parametrize(
        ("quantize", "place"),
        [("4bit", "bitsandbytes.nn.Params4bit._quantize"), ("8bit", "bitsandbytes.functional.int8_vectorwise_quant")],
    )
    def test_while_packing_too(self, checkpoint: Path, monkeypatch, quantize: str, place: str) -> None:
        """transformers gathers what goes wrong there and raises an error that names no cause."""

        def fail(*_args: object, **_kwargs: object) -> None:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

        monkeypatch.setattr(place, fail)
        with pytest.raises(VlmDemoError, match="does not fit into the memory of this machine's cpu") as caught:
            loading.load(str(checkpoint), quantize)
        assert "damaged" not in sentence(caught)

    @pytest.mark.parametrize(
        ("share", "quantize", "way_out"),
        [(0.9, "none", "load it in 4bit, or"), (0.1, "none", "choose a smaller"), (0.1, "4bit", "choose a smaller")],
    )
    def test_what_is_certain_not_to_fit_is_not_begun(
        self, checkpoint: Path, monkeypatch, share: float, quantize: str, way_out: str
    ) -> None:
        stored = sum(tensor.numel() for tensor in load_file(checkpoint / "model.safetensors").values())
        monkeypatch.setattr(quantization, "room_on", lambda _device: int(share * 2 * stored))
        monkeypatch.setattr(LlavaForConditionalGeneration, "from_pretrained", None)
        with pytest.raises(VlmDemoError, match=rf"it takes at least .* are free\): {way_out}") as caught:
            loading.load(str(checkpoint), quantize)
        sentence(caught)


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
        template = "{% for m in messages %}<image>{{ m['content'][1]['text'] }}{% endfor %} so:"
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
        answer = Pipeline.from_pretrained(folder).ask(noise(50, 50), "What is it?", max_new_tokens=1)
        assert answer.prompt.text == "<image>What is it? so:"


def response(code: int) -> httpx2.Response:
    return httpx2.Response(code, request=httpx2.Request("GET", "https://hub.invalid/x"))


class TestHub:
    """Without a network: the hub's answers are made up."""

    NAME = "someone/some-model"

    @pytest.mark.parametrize(
        ("error", "message"),
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
    def test_each_failure_has_its_own_sentence(self, error: Exception, message: str, monkeypatch) -> None:
        def fail(*_args: object, **_kwargs: object) -> None:
            raise error

        monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
        with pytest.raises(ModelNotFound, match=message) as caught:
            loading.load(self.NAME)
        sentence(caught)

    def test_offline_for_real(self) -> None:
        with pytest.raises(ModelNotFound, match="cannot be reached"):
            loading.load("nobody-at-all/nothing-to-see")

    @pytest.mark.parametrize(
        ("wanted", "offered"),
        [
            ("HuggingFaceTB/SmolVLM-256M-Instruct", ["llava"]),
            ("openai/clip-vit-base-patch32", ["clip"]),
            (NAME, ["clip", "llava"]),
        ],
    )
    def test_what_is_offered_instead_does_the_same(
        self, wanted: str, offered: list[str], tmp_path, monkeypatch
    ) -> None:
        """A model that only compares is none for a chat."""

        def fail(*_args: object, **_kwargs: object) -> None:
            raise httpx2.ConnectError("no route")

        for name, build in (("llava", tiny_llava), ("clip", tiny_clip)):
            build(tmp_path / name)
        monkeypatch.setattr(loading, "EMBEDDED", tmp_path)
        monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
        with pytest.raises(ModelNotFound) as caught:
            loading.load(wanted)
        assert str(caught.value).endswith(f", or choose {', '.join(offered)}.")

    def test_what_is_in_the_cache_needs_no_hub(self, checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path))
        cached, commit = tmp_path / "models--someone--some-model", "a" * 40
        copy(checkpoint, cached / "snapshots" / commit)
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text(commit)
        loaded = loading.load(self.NAME)
        assert loaded.name == self.NAME and loaded.folder == cached / "snapshots" / commit

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
        reports, asked = [], []

        def fetch(_name: str, allow_patterns: list[str], tqdm_class: type | None = None, **_: object) -> str:
            asked.extend(allow_patterns)
            if tqdm_class:
                with tqdm_class(total=2_000_000_000, unit="B", unit_scale=True, name="hub") as bar:
                    bar.update(500_000_000)
                with tqdm_class(total=3, desc="files") as files:
                    files.update(1)
            return str(checkpoint)

        monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
        loaded = loading.load(self.NAME, progress=lambda fraction, text: reports.append((fraction, text)))
        assert loaded.name == self.NAME
        assert (0.25, "Downloading someone/some-model: 0.50 of 2.00 GB") in reports
        assert reports[-1] == (1.0, "someone/some-model is ready")
        assert not any("bin" in pattern or "py" in pattern for pattern in asked)

    @pytest.mark.parametrize("allowed", [NONE, Trust(pickle=True)])
    @pytest.mark.parametrize("files", [["model.safetensors", "pytorch_model.bin"], ["pytorch_model.bin"]])
    def test_pickles_are_fetched_only_where_they_are_allowed_and_needed(
        self, checkpoint: Path, allowed: Trust, files: list[str], monkeypatch
    ) -> None:
        asked: list[str] = []

        def snapshot(_name: str, allow_patterns: list[str], **_: object) -> str:
            asked.extend(allow_patterns)
            return str(checkpoint)

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
        monkeypatch.setattr("huggingface_hub.model_info", listing(dict.fromkeys(files, 10)))

        def fetch() -> None:
            download.fetch(self.NAME, allowed, lambda _folder: None, lambda *_: None, "llava")

        if len(files) == 1 and not allowed.pickle:
            with pytest.raises(UnsupportedModel, match="--allow-pickle") as caught:
                fetch()
            sentence(caught)
        else:
            fetch()
            assert ("pytorch_model.bin" in asked) is (len(files) == 1)


def listing(sizes: dict[str, int], commit: str = "a" * 40) -> Callable[..., SimpleNamespace]:
    """The hub's list of a model's files."""
    files = [SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
    return lambda _name, **_: SimpleNamespace(sha=commit, siblings=files)


class Hub(BaseHTTPRequestHandler):
    """A hub that holds one large file, and writes down from which byte on it was asked for."""

    content = np.random.default_rng(0).bytes(300_000)
    begun: ClassVar[list[str | None]] = []
    damaged = False

    def do_HEAD(self) -> None:
        self._head(200, len(self.content))

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.begun.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        rest = self.content[start:]
        self._head(206 if wanted else 200, len(rest))
        self.wfile.write(bytes(len(rest)) if self.damaged else rest)

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", f'"{hashlib.sha256(self.content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub on this machine; gives the folder in which what it sends is kept."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    Hub.begun.clear()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name, value in {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path),
        "HF_HUB_OFFLINE": False,
        "DOWNLOAD_CHUNK_SIZE": 10_000,
    }.items():
        monkeypatch.setattr(hub_constants, name, value)
    yield tmp_path / "models--someone--some-model" / "blobs"
    server.shutdown()
    server.server_close()


class TestResuming:
    """A download that was broken off goes on where it stopped, in another process too."""

    FILES: ClassVar[dict[str, int]] = {"model.safetensors": len(Hub.content)}
    SUM = hashlib.sha256(Hub.content).hexdigest()

    def fetch(self, report: Callable[..., None] = lambda *_: None) -> None:
        download._continue("someone/some-model", "a" * 40, self.FILES, report)

    @pytest.fixture(autouse=True)
    def _all_is_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(download, "LARGE", 0)

    def test_it_goes_on_where_it_stopped(self, served: Path) -> None:
        def stop(fraction: float, _text: str) -> None:
            if fraction > 0.5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.fetch(stop)
        (part,) = served.glob("*.part")
        held = part.stat().st_size
        assert 0.4 * len(Hub.content) < held < 0.6 * len(Hub.content)
        fractions: list[float] = []
        self.fetch(lambda fraction, _text: fractions.append(fraction))
        assert Hub.begun == [None, f"bytes={held}-"]
        assert fractions[0] > 0.4 and fractions[-1] == 1
        assert (served / self.SUM).read_bytes() == Hub.content and not list(served.glob("*.part"))
        self.fetch()
        assert len(Hub.begun) == 2

    def test_what_arrives_damaged_is_thrown_away(self, served: Path, monkeypatch) -> None:
        monkeypatch.setattr(Hub, "damaged", True)
        with pytest.raises(UnsupportedModel, match="damaged: try again") as caught:
            self.fetch()
        sentence(caught)
        assert not list(served.glob("*.part")) and not (served / self.SUM).exists()

    def test_a_disk_that_is_too_full_is_seen_before(self, served: Path, monkeypatch) -> None:
        monkeypatch.setattr(download.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
        with pytest.raises(ModelNotFound, match="takes 0 MB more and there are 0 MB; free some") as caught:
            self.fetch()
        sentence(caught)
        assert not Hub.begun


class TestTrust:
    """Nothing of a checkpoint runs here, unless a person asked for it."""

    def test_all_is_off_by_default(self) -> None:
        assert Trust(remote_code=False, pickle=False) == NONE
        assert inspect.signature(loading.load).parameters["trust"].default == NONE
        assert inspect.signature(Pipeline.from_pretrained).parameters["trust"].default == NONE

    @pytest.fixture
    def trap(self, checkpoint: Path, tmp_path: Path) -> Path:
        """A checkpoint whose own code leaves a file behind when it is run."""
        auto = {"AutoConfig": "trap.Config", "AutoModelForImageTextToText": "trap.Model"}
        folder = changed(checkpoint, tmp_path / "x", model_type="trap", architectures=["Trap"], auto_map=auto)
        (folder / "trap.py").write_text(
            "from transformers import LlavaConfig, LlavaForConditionalGeneration\n"
            f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
            "class Config(LlavaConfig):\n    model_type = 'trap'\n"
            "class Model(LlavaForConditionalGeneration):\n    config_class = Config\n"
        )
        # The older names of some tensors are known of transformers' own classes alone.
        named = LlavaForConditionalGeneration.from_pretrained(checkpoint).state_dict()
        save_file(
            {name: tensor.clone() for name, tensor in named.items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        return folder

    def test_its_code_is_never_run(self, trap: Path, tmp_path: Path) -> None:
        for allowed in (NONE, Trust(pickle=True)):
            with pytest.raises(UnsupportedModel):
                loading.load(str(trap), trust=allowed)
        assert not (tmp_path / "ran").exists()

    def test_unless_it_is_trusted(self, trap: Path, checkpoint: Path, tmp_path: Path, noise) -> None:
        pipe = Pipeline.from_pretrained(trap, trust=Trust(remote_code=True))
        assert (tmp_path / "ran").exists() and type(pipe.model).__name__ == "Model" and not pipe.can_explain
        plain = Pipeline.from_pretrained(checkpoint).ask(noise(50, 50), "What is it?", max_new_tokens=4)
        assert pipe.ask(noise(50, 50), "What is it?", max_new_tokens=4).text == plain.text

    def test_pickles_are_opened_only_where_they_are_allowed(self, checkpoint: Path, tmp_path: Path) -> None:
        bare = without(checkpoint, tmp_path / "bare", "*.safetensors")
        torch.save(load_file(checkpoint / "model.safetensors"), bare / "pytorch_model.bin")
        with pytest.raises(UnsupportedModel, match="--allow-pickle") as caught:
            loading.load(str(bare))
        sentence(caught)
        loaded = loading.load(str(bare), trust=Trust(pickle=True)).model
        safe = loading.load(str(checkpoint)).model
        assert all(torch.equal(one, other) for one, other in zip(loaded.parameters(), safe.parameters(), strict=True))

    FLAGS: ClassVar[dict[str, Trust]] = {
        "--trust-remote-code": Trust(remote_code=True),
        "--allow-pickle": Trust(pickle=True),
    }

    @pytest.mark.parametrize("flag", FLAGS)
    def test_the_flags_and_their_warnings(self, flag: str, capsys) -> None:
        allowed = self.FLAGS[flag]
        parser = argparse.ArgumentParser()
        trust.add_flags(parser)
        assert trust.of(parser.parse_args([])) == trust.of(app.parse([])) == NONE
        assert trust.of(parser.parse_args([flag])) == trust.of(app.parse([flag])) == allowed
        trust.warn(NONE, "some/model")
        assert capsys.readouterr().err == ""
        trust.warn(allowed, "some/model")
        warning = capsys.readouterr().err
        assert warning.startswith("Warning: " + flag) and "some/model" in warning and len(warning.splitlines()) == 1

    def test_the_command_line_takes_them(self, checkpoint: Path, tmp_path: Path, capsys) -> None:
        bare = without(checkpoint, tmp_path / "bare", "*.safetensors")
        torch.save(load_file(checkpoint / "model.safetensors"), bare / "pytorch_model.bin")
        asked = ["ask", str(tmp_path / "picture.png"), "What is it?", "--model", str(bare), "--max-new-tokens", "1"]
        Image.new("RGB", (50, 50)).save(tmp_path / "picture.png")
        assert main(asked) == 2 and "--allow-pickle" in capsys.readouterr().err
        assert main([*asked, "--allow-pickle"]) == 0 and capsys.readouterr().err.startswith("Warning: --allow-p")


def test_loading_says_nothing_by_itself(checkpoint: Path, capfd, caplog: pytest.LogCaptureFixture) -> None:
    for quantize in ("none", "4bit"):
        loading.load(str(checkpoint), quantize)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_torchvision_that_does_not_load_is_named(checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    """Its own error names an operator that does not exist, and transformers' names processors."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(VlmDemoError, match="^The torchvision that is installed .*pip uninstall torchvision"):
        loading.load(str(checkpoint))
