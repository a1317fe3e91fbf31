"""Quantization: which layers really change, which stay, and what they weigh."""

import importlib.util
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt

from tests.kit.tiny import tiny_blip2, tiny_idefics, tiny_llava
from tests.models.adapters import (
    test_gemmas,
    test_idefics3,
    test_instructblip,
    test_internvl,
    test_llava_next,
    test_mllama,
    test_qwen_vl,
)
from vlm_demo import Pipeline
from vlm_demo.errors import QuantizationUnavailable
from vlm_demo.models import loading, quantization
from vlm_demo.models.quantization import config_for, precision_of, process_bytes, stored_bytes

pytestmark = pytest.mark.usefixtures("bf16_as_stored")

LAYERS = {"8bit": Linear8bitLt, "4bit": Linear4bit}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("wide"), dtype=torch.bfloat16, width=128)


@pytest.mark.parametrize("quantize", LAYERS)
def test_the_language_model_alone_is_quantized(folder: Path, quantize: str, noise) -> None:
    pipe = Pipeline.from_pretrained(folder, quantize=quantize)
    assert pipe.precision == quantize
    inside = [m for n, m in pipe.model.named_modules() if isinstance(m, torch.nn.Linear) and "language_model" in n]
    outside = [m for n, m in pipe.model.named_modules() if isinstance(m, torch.nn.Linear) and "language_model" not in n]
    assert len(inside) == 3 * 7 and {type(layer) for layer in inside} == {LAYERS[quantize]}
    assert len(outside) == 3 * 6 + 2 + 1 and {type(layer) for layer in outside} == {torch.nn.Linear}
    assert {layer.weight.dtype for layer in outside} == {torch.bfloat16}
    loaded = pipe.memory().parameter_bytes
    answer = pipe.ask(noise(60, 60), "What is it?", max_new_tokens=4)
    assert answer.tokens and answer.heatmap(0).max() == 1
    # On some CPUs bitsandbytes packs the weights anew at the first use.
    assert 0.9 * loaded < answer.memory.parameter_bytes <= loaded


# Family → its maker, where its language model lies, and how many linear layers are in it and outside.
OTHERS = {
    "blip2": (tiny_blip2, "language_model.model.", 3 * 7, 3 * 4 + 4 * 12 + 1 + 1),
    "blip2 with opt": (tiny_blip2, "language_model.model.", 3 * 6, 3 * 4 + 4 * 12 + 1 + 1),
    "idefics": (tiny_idefics, "model.layers.", 4 * 7, 3 * 6 + 4 * 7 + 1),
}


@pytest.mark.parametrize("quantize", LAYERS)
@pytest.mark.parametrize("family", OTHERS)
def test_encoder_bridge_and_head_of_the_others_stay(tmp_path: Path, family: str, quantize: str, noise) -> None:
    """A Q-Former and the gated layers of Idefics are bridges."""
    make, place, count, others = OTHERS[family]
    settings = {"lm": "opt"} if "opt" in family else {}
    more = {"heads": "apart"} if make is tiny_blip2 else {}
    folder = make(tmp_path, dtype=torch.bfloat16, width=128, **settings, **more)
    plain, pipe = Pipeline.from_pretrained(folder), Pipeline.from_pretrained(folder, quantize=quantize)
    linear = [(n, m) for n, m in pipe.model.named_modules() if isinstance(m, torch.nn.Linear)]
    inside = [m for n, m in linear if n.startswith(place)]
    outside = [m for n, m in linear if not n.startswith(place)]
    assert len(inside) == count and {type(layer) for layer in inside} == {LAYERS[quantize]}
    assert len(outside) == others and all(type(layer) not in LAYERS.values() for layer in outside)
    assert {layer.weight.dtype for layer in outside} == {torch.bfloat16}
    assert pipe.precision == quantize
    assert pipe.memory().parameter_bytes < plain.memory().parameter_bytes
    answer = pipe.ask(noise(60, 60), "What is it?", max_new_tokens=4)
    assert answer.tokens and answer.heatmap(0).max() == 1
    if more:
        one, two = (p.score(noise(60, 60), ["a star", "a circle"]).similarities for p in (plain, pipe))
        assert one == pytest.approx(two, abs=0.02)


# Family → its tiny checkpoint, where its language model lies, and a part that is none of it.
FAMILIES = {
    "idefics3": (test_idefics3.TestIdefics3, "model.text_model.", "model.vision_model."),
    "smolvlm": (test_idefics3.TestSmolVlm, "model.text_model.", "model.connector."),
    "llava_next": (test_llava_next.TestLlavaNext, "model.language_model.", "model.multi_modal_projector."),
    "llava_onevision": (test_llava_next.TestLlavaOnevision, "model.language_model.", "model.vision_tower."),
    "qwen2_5_vl": (test_qwen_vl.TestQwen25Vl, "model.language_model.", "model.visual."),
    "qwen3_vl": (test_qwen_vl.TestQwen3Vl, "model.language_model.", "model.visual."),
    "gemma3": (test_gemmas.TestGemma3, "model.language_model.", "model.vision_tower."),
    "paligemma": (test_gemmas.TestPaliGemma, "model.language_model.", "model.multi_modal_projector."),
    "internvl": (test_internvl.TestInternVl, "model.language_model.", "model.multi_modal_projector."),
    "instructblip": (test_instructblip.TestInstructBlip, "language_model.model.", "qformer."),
    "mllama": (test_mllama.TestMllama, "model.language_model.", "model.vision_model."),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_of_every_family_the_language_model_alone(tmp_path: Path, family: str) -> None:
    parity, place, other = FAMILIES[family]
    loaded = loading.load(str(parity.make(tmp_path)), "8bit")
    assert loaded.family.name == family
    linear = {n: m for n, m in loaded.model.named_modules() if isinstance(m, torch.nn.Linear)}
    inside = {type(layer) for name, layer in linear.items() if name.startswith(place)}
    outside = {type(layer) for name, layer in linear.items() if not name.startswith(place)}
    assert inside == {Linear8bitLt} and Linear8bitLt not in outside
    assert any(name.startswith(other) for name in linear)
    # A head that shares its weights with the embeddings would change these too.
    assert type(loaded.model.get_output_embeddings()) is torch.nn.Linear


@pytest.mark.parametrize("quantize", LAYERS)
def test_four_bit_computes_in_bf16_in_nf4(folder: Path, quantize: str) -> None:
    """In float32 it would be about a hundred times slower on a CPU."""
    layers = [m for m in Pipeline.from_pretrained(folder, quantize=quantize).model.modules() if type(m) is Linear4bit]
    assert bool(layers) is (quantize == "4bit")
    assert all(layer.compute_dtype == torch.bfloat16 and layer.weight.quant_type == "nf4" for layer in layers)


def test_the_precision_is_that_of_most_weights() -> None:
    model = torch.nn.ModuleList([torch.nn.Linear(3, 3), torch.nn.Linear(30, 30).half()])
    assert precision_of(model) == "fp16"
    model.append(Linear8bitLt(3, 3, has_fp16_weights=False))
    assert precision_of(model) == "8bit"
    model.append(Linear4bit(4, 4))
    assert precision_of(model) == "4bit"


def test_unquantized_layers_are_plain(folder: Path) -> None:
    pipe = Pipeline.from_pretrained(folder)
    assert {type(m) for m in pipe.model.modules() if isinstance(m, torch.nn.Linear)} == {torch.nn.Linear}
    assert pipe.precision == "bf16"


def test_bytes_are_counted_as_stored(folder: Path) -> None:
    plain = Pipeline.from_pretrained(folder)
    weights = sum(
        m.weight.numel()
        for n, m in plain.model.named_modules()
        if isinstance(m, torch.nn.Linear) and "language_model" in n
    )
    rest = stored_bytes(plain.model) - 2 * weights
    held = {q: stored_bytes(Pipeline.from_pretrained(folder, quantize=q).model) - rest for q in LAYERS}
    # NF4: half a byte a weight and a float32 scale for 64 of them; int8: a byte, and a float32 scale a row.
    assert weights / 2 + 4 * weights / 64 <= held["4bit"] < 0.68 * weights
    assert weights < held["8bit"] < 1.1 * weights


def test_tied_weights_count_once_and_the_process_apart() -> None:
    tied = torch.nn.ModuleList([torch.nn.Linear(10, 20, bias=False), torch.nn.Linear(10, 20, bias=False)])
    tied[1].weight = tied[0].weight
    tied.register_buffer("table", torch.zeros(5, dtype=torch.int64))
    assert stored_bytes(tied) == 10 * 20 * 4 + 5 * 8
    assert process_bytes() > 50_000_000


def test_writing_in_8_bit_says_nothing_by_itself(folder: Path, noise, caplog: pytest.LogCaptureFixture) -> None:
    Pipeline.from_pretrained(folder, quantize="8bit").ask(noise(60, 60), "What is it?", max_new_tokens=2)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


class Group:
    """Control groups' files, as the kernel shows them."""

    def __init__(self, folder: Path, **files: str) -> None:
        for name, text in files.items():
            (folder / f"memory.{name}").write_text(text)
        self.folder = folder

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


def test_the_room_is_what_the_machine_or_its_container_has_left(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(quantization.psutil, "virtual_memory", lambda: SimpleNamespace(available=5_000))
    for limit, left in (("1000", 1000 - 600 + 150), ("max", 5_000), ("100000", 5_000)):
        group = Group(tmp_path, max=limit, current="600", stat="anon 450\ninactive_file 150\n")
        monkeypatch.setattr(quantization, "Path", lambda _path, group=group: group)
        assert quantization.room_on(torch.device("cpu")) == left


@pytest.mark.parametrize("package", ["bitsandbytes", "accelerate"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("vlm_demo.models.quantization.find_spec", lambda n: None if n == package else found(n))
    with pytest.raises(QuantizationUnavailable, match=package):
        config_for("4bit", ())
    assert config_for("none", ()) is None


def test_shapes_that_a_cpu_cannot_pack_are_refused_before_they_fail(tmp_path: Path) -> None:
    with pytest.raises(QuantizationUnavailable, match="32 × 32"):
        Pipeline.from_pretrained(tiny_llava(tmp_path, width=32), quantize="4bit", device="cpu")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(QuantizationUnavailable, match="none, 8bit, 4bit"):
        config_for("2bit", ())


@pytest.mark.parametrize("quantize", LAYERS)
def test_the_bytes_in_fewer_bits_are_counted_as_they_come_out(folder: Path, quantize: str) -> None:
    loaded = loading.load(str(folder))
    counted = quantization.in_fewer_bits(loaded.model, loaded.family.keep_unquantized, torch.device("cpu"))[quantize]
    other = loading.load(str(folder), quantize)
    assert counted == pytest.approx(stored_bytes(other.model), rel=0.02)
    assert quantization.in_fewer_bits(other.model, other.family.keep_unquantized, torch.device("cpu")) == {}


def test_a_shape_that_cannot_be_packed_is_not_offered_in_four_bit(tmp_path: Path) -> None:
    loaded = loading.load(str(tiny_llava(tmp_path, width=32)), device="cpu")
    assert list(quantization.in_fewer_bits(loaded.model, loaded.family.keep_unquantized, loaded.device)) == ["8bit"]
