"""An out-of-distribution picture: a notice with the smallest model for photos and the exact command."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.kit import composed
from tests.kit.fake_engine import FakeEngine
from tests.kit.tiny import tiny_clip, tiny_llava
from vlm_demo.engines import offers
from vlm_demo.engines.registry import Measured, Status
from vlm_demo.models import embedded, loading, parts, quantization, user_cache
from vlm_demo.models.loading import catalog
from vlm_demo.ui.components import header, model_menu
from vlm_demo.ui.components.header import Choice


def view(colour: tuple[int, int, int]):
    return FakeEngine._view(Image.new("RGB", (50, 50), colour))


def test_smallest_model_for_photos_is_offered():
    sentence, command = model_menu.outside(FakeEngine(), [view((1, 2, 3))])
    fitting = [e for e in catalog() if e.on_hub and "photos" in e.good_at and "no answers" not in e.good_at]
    smallest = min(fitting, key=lambda entry: entry.download_bytes)
    assert command == f'make demo ARGS="--model {smallest.id}"'
    assert smallest.name in sentence and re.search(r"\d [MG]B download", sentence)


def test_the_command_starts_the_app_with_that_model_and_the_environment_that_make_sets_up():
    make, *arguments = shlex.split(model_menu.outside(FakeEngine(), [view((1, 2, 3))])[1])
    root = Path(__file__).parents[2]
    # The tests are run by make themselves: one inside another would say which folder it enters, and take its flags.
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    told = subprocess.check_output([make, "-n", *arguments], cwd=root, env=outside, text=True)
    model = arguments[-1].removeprefix("ARGS=")
    assert told.splitlines()[-1] == f".venv/bin/python app.py {model}"


def test_there_is_no_notice_for_known_pictures_or_by_models_without_a_score():
    assert model_menu.outside(FakeEngine(), [view((255, 255, 255))]) is None
    silent = FakeEngine()
    silent.in_distribution = lambda _view: None
    assert model_menu.outside(silent, [view((1, 2, 3))]) is None


def test_the_menu_offers_the_loaded_model_first_and_sizes_of_downloads():
    offered = model_menu.choices("some/folder", "none", "cpu")
    assert next(iter(offered)) == "some/folder"
    assert all("download" in choice.label for name, choice in offered.items() if name.startswith("llava-hf/"))


def test_a_model_that_only_compares_is_not_offered_for_a_chat(tmp_path, monkeypatch):
    for name, config in (("writer", tiny_llava), ("judge", tiny_clip)):
        config(tmp_path / name)
    monkeypatch.setattr(loading, "EMBEDDED", tmp_path)
    offers.writes.cache_clear()
    offered = model_menu.choices("some/folder", "none", "cpu")
    offers.writes.cache_clear()
    assert "writer" in offered and "judge" not in offered
    assert "openai/clip-vit-base-patch32" in {entry.id for entry in catalog()} - offered.keys()


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The shipped files of the one embedded model, ``small``, which is not put together yet."""
    monkeypatch.setattr(user_cache, "folder", lambda: tmp_path / "cache" / "vlm_demo")
    monkeypatch.setattr(loading, "EMBEDDED", tmp_path / "models")
    composed.install(tmp_path / "site", monkeypatch)
    offers.writes.cache_clear()
    yield composed.ship(tmp_path / "models" / "small")
    offers.writes.cache_clear()


def label_of_small() -> str:
    return model_menu.choices("some/folder", "none", "cpu")["small"].label


def test_the_disk_use_of_an_embedded_model_is_said_until_it_is_put_together(shipped):
    announced = re.search(r"takes (\d+ MB) in", loading.announcement("small"))[1]
    assert label_of_small() == f"small · embedded, will take {announced} of disk"
    folder = embedded.assembled(shipped, composed.silent)
    assert label_of_small() == "small · embedded"
    (folder / embedded.MANIFEST).unlink()
    assert label_of_small() == f"small · embedded, will take {announced} of disk"


def test_the_menu_reads_the_shipped_files_again_only_when_they_have_changed(shipped, monkeypatch):
    read, sha256 = [], parts.sha256
    monkeypatch.setattr(parts, "sha256", lambda path: read.append(path.name) or sha256(path))
    first = label_of_small()
    assert composed.TRAINED in read
    read.clear()
    assert label_of_small() == first and not read
    with (shipped / composed.TRAINED).open("ab") as file:
        file.write(bytes(50_000_000))
    assert label_of_small() != first and read == [composed.TRAINED]


def test_the_menu_is_drawn_where_shipped_files_are_missing(shipped):
    (shipped / composed.TRAINED).unlink()
    assert label_of_small() == "small · embedded"


def test_the_disk_use_is_known_without_torch():
    code = "import sys; from pathlib import Path; from vlm_demo.models import embedded, user_cache\n"
    code += "user_cache.folder = lambda: Path('no such folder')\n"
    code += f"assert embedded.disk_use(Path({str(loading.EMBEDDED / 'llava')!r})) > 1e8\n"
    code += "assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


def test_a_model_that_is_not_loaded_yet_has_no_figures():
    waiting = Status("llava", None, "", 0, "cpu", "Putting llava together", 0.25)
    precisions = header.precisions("none", waiting, {}, {})
    assert precisions["none"].label == "full precision"
    drawn = header.chips(waiting, "llava", "none", {"llava": Choice("llava")}, precisions, True)
    assert "llava · on this machine" in drawn and "MB" not in drawn
    assert 'value="0.250"' in header.notice(waiting) and "Putting llava together" in header.notice(waiting)
    failed = Status("llava", None, "", 0, "cpu", problem="The disk is too full.")
    assert "The disk is too full." in header.notice(failed)


MODEL = "llava-hf/llava-1.5-7b-hf"  # 14.1 GB; 7.6 in 8 bit, 4.8 in 4 bit


@pytest.mark.parametrize(
    ("room", "quantize", "reason"),
    [
        (16e9, "none", ""),
        (15e9, "none", "needs 14.1 GB, 15.0 GB free; fits in 4-bit"),  # no room to work
        (9e9, "8bit", ""),
        (8e9, "8bit", "needs 7.7 GB, 8.0 GB free; fits in 4-bit"),
        (6e9, "4bit", ""),
        (2e9, "none", "needs 14.1 GB, 2.0 GB free"),
        (2e9, "4bit", "needs 4.8 GB, 2.0 GB free"),
    ],
)
def test_what_does_not_fit_at_the_chosen_precision_says_why(room, quantize, reason, monkeypatch):
    monkeypatch.setattr(quantization, "room_on", lambda _device: int(room))
    assert model_menu.choices("llava", quantize, "cpu")[MODEL].closed == reason


def test_the_room_is_that_of_the_device_on_which_the_model_is(monkeypatch):
    asked = []
    monkeypatch.setattr(quantization, "room_on", lambda device: asked.append(str(device)) or 0)
    model_menu.choices("llava", "none", "cuda:1")
    assert asked == ["cuda:1"]


STATUS = Status("llava", 7_000_000, "bf16", 15_000_000, "cpu")


def test_a_closed_line_cannot_be_chosen_and_a_closed_menu_has_no_closed_lines():
    models = {"llava": Choice("llava"), "big": Choice("Big & Co", "needs 9.0 GB, 1.0 GB free")}
    precisions = {"none": Choice("bf16")}
    drawn = header.chips(STATUS, "llava", "none", models, precisions, operator=True)
    assert '<option value="big" disabled>Big &amp; Co · needs 9.0 GB, 1.0 GB free</option>' in drawn
    assert drawn.count("disabled") == 1
    drawn = header.chips(STATUS, "/srv/own", "none", {"owner/big": Choice("Big")}, precisions, operator=False)
    assert drawn.count("disabled") == 2 and "llava" in drawn and "/srv" not in drawn and "owner" not in drawn


def labels(quantize: str, measured: dict[str, Measured], closed: dict[str, str] | None = None) -> dict[str, str]:
    drawn = header.precisions(quantize, STATUS, measured, closed or {})
    return {name: f"{choice.label}|{choice.closed}" for name, choice in drawn.items()}


def test_the_precisions_say_what_was_measured_of_them_here():
    plain = Measured(15_000_000, 0.002, 0.0019, 0.003)
    assert labels("none", {"none": plain}) == {"none": "bf16 · 15 MB|", "8bit": "8-bit|", "4bit": "4-bit|"}
    slower, even = Measured(15_000_000, 0.005, 0.0031, 0.006), Measured(14_000_000, 0.0021, 0.0019, 0.0025)
    found = labels("4bit", {"none": plain, "4bit": slower, "8bit": even})
    assert found["4bit"] == "4-bit · 15 MB · 2.5× slower here|"
    assert found["8bit"] == "8-bit · 14 MB · no faster here, saves only 1 MB|"
    assert found["none"] == "full precision · 15 MB|"
    faster = {"none": plain, "8bit": Measured(8_000_000, 0.001, 0.001, 0.0018), "4bit": Measured(5_000_000, None)}
    assert labels("none", faster)["8bit"] == "8-bit · 8 MB · 2.0× faster here|"
    assert labels("none", faster)["4bit"] == "4-bit · 5 MB|"


@pytest.mark.parametrize(
    "packed",
    [
        Measured(15_000_000, 0.005),
        Measured(15_000_000, 0.005, 0.0029, 0.006),
        Measured(15_000_000, 0.001, 0.001, 0.002),
    ],
    ids=["measured too seldom", "some answers faster", "some answers slower"],
)
def test_paces_that_may_be_chance_are_not_compared(packed):
    plain = Measured(15_000_000, 0.002, 0.0019, 0.003)
    assert labels("none", {"none": plain, "4bit": packed})["4bit"] == "4-bit · 15 MB|"


def test_a_precision_that_cannot_be_had_says_what_is_missing(monkeypatch):
    assert model_menu.unquantizable() == {}
    found = importlib.util.find_spec
    monkeypatch.setattr(quantization, "find_spec", lambda name: None if name == "bitsandbytes" else found(name))
    closed = model_menu.unquantizable()
    assert labels("none", {}, closed)["4bit"] == "4-bit|needs bitsandbytes"
    assert labels("4bit", {}, closed)["4bit"].endswith("|")
