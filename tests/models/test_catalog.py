"""The catalog: every entry runs here, and its figures are those of its architecture at the published sizes."""

import logging
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from transformers.initialization import no_init_weights

from tests.kit.hub_shapes import SHAPES
from vlm_demo.models import loading
from vlm_demo.models.adapters import ADAPTERS, adapter_of
from vlm_demo.models.catalog import Entry, bytes_of, fits, listed

ON_HUB = [entry for entry in listed() if entry.on_hub]
# Of a module with several the first, which the models on the hub are of.
CLASSES = {module: (architecture, adapter) for architecture, (module, adapter) in reversed(ADAPTERS.items())}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("entry", ON_HUB, ids=lambda entry: entry.id)
def test_parameters_are_those_of_its_architecture_at_the_published_sizes(entry: Entry) -> None:
    """Also: its family takes such a config, and quantization packs as many as the catalog lists."""
    architecture, name = CLASSES[entry.family]
    adapter = getattr(import_module(f"vlm_demo.models.adapters.{entry.family}"), name)
    config = adapter.model_class().config_class(**SHAPES[entry.id])
    config.architectures = [architecture]
    assert adapter_of(config) is adapter
    with torch.device("meta"), no_init_weights():
        model = adapter.model_class()(config)
    model.tie_weights()
    assert entry.parameters == sum(parameter.numel() for parameter in model.parameters())
    layers = [
        layer
        for path, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and adapter.writes and not path.startswith(adapter.keep_unquantized)
    ]
    assert entry.quantized == sum(layer.weight.numel() for layer in layers)
    assert all(layer.in_features % 64 == 0 and layer.out_features % 32 == 0 for layer in layers)


@pytest.mark.parametrize("entry", ON_HUB, ids=lambda entry: entry.id)
def test_memory_is_reckoned_from_parameters_and_those_that_are_quantized(entry: Entry) -> None:
    wide = ["fp32"] if entry.stored == "fp32" else []
    packed = ["8bit", "4bit"] if entry.quantized else []
    assert list(entry.memory_bytes) == [*wide, "bf16", *packed]
    for precision, count in entry.memory_bytes.items():
        assert count == bytes_of(entry.parameters, entry.quantized or 0, precision, entry.stored)
    assert entry.needs("none") == pytest.approx(entry.download_bytes, rel=0.02)
    assert entry.needs("8bit") == entry.memory_bytes.get("8bit")


def test_what_packing_leaves_is_counted_by_hand() -> None:
    """64 weights in 4 bit are 32 bytes and a scale of 4; in 8 bit 64 bytes; ten others in bf16 are 20, in fp32 40."""
    assert [bytes_of(74, 64, precision) for precision in ("fp32", "bf16", "8bit", "4bit")] == [296, 148, 84, 56]
    assert bytes_of(74, 64, "4bit", "fp32") == 76


def test_every_entry_is_complete() -> None:
    assert len({entry.id for entry in listed()}) == len(listed()) and listed()[0].id == "llava"
    assert {entry.id for entry in listed() if not entry.on_hub} >= {"llava", "clip", "blip2", "idefics"}
    assert {entry.family for entry in listed()} == set(CLASSES)
    for entry in listed():
        assert entry.name and entry.licence and entry.good_at and entry.parameters > 0
        assert loading.HUB_ID.fullmatch(entry.id) if entry.on_hub else not entry.download_bytes


def test_it_offers_no_embedded_model_that_is_not_there(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text("{}")
    monkeypatch.setattr(loading, "EMBEDDED", tmp_path)
    offered = [entry.id for entry in loading.catalog()]
    assert [name for name in offered if "/" not in name] == ["clip"]
    assert "llava-hf/llava-1.5-7b-hf" in offered


def test_a_model_fits_with_room_to_work() -> None:
    assert fits(1000, 1100) and not fits(1000, 1090)
