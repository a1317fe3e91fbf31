"""A picture outside the embedded model's world: said, with the smallest model for photos and the exact command."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from PIL import Image

from tests.tiny import tiny_clip, tiny_llava
from tests.ui.fake_pipeline import FakePipeline
from vlm_demo.models import loading
from vlm_demo.models.loading import catalog
from vlm_demo.ui import world


def view(colour: tuple[int, int, int]):
    return FakePipeline._view(Image.new("RGB", (50, 50), colour))


def test_smallest_supported_model_for_photos_is_offered():
    sentence, command = world.outside(FakePipeline(), [view((1, 2, 3))])
    fitting = [e for e in catalog() if e["supported"] and e["download_bytes"] and "photos" in e["good_at"]]
    smallest = min(fitting, key=lambda entry: entry["download_bytes"])
    assert command == f'make demo ARGS="--model {smallest["id"]}"'
    assert smallest["name"] in sentence and re.search(r"\d GB download", sentence)


def test_the_command_starts_the_app_with_that_model_and_the_environment_that_make_sets_up():
    make, *arguments = shlex.split(world.outside(FakePipeline(), [view((1, 2, 3))])[1])
    root = Path(__file__).parents[2]
    # The tests are run by make themselves: one inside another would say which folder it enters, and take its flags.
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    told = subprocess.check_output([make, "-n", *arguments], cwd=root, env=outside, text=True)
    model = arguments[-1].removeprefix("ARGS=")
    assert told.splitlines()[-1] == f".venv/bin/python app.py {model}"


def test_nothing_is_said_of_known_pictures_or_by_models_that_cannot_tell():
    assert world.outside(FakePipeline(), [view((255, 255, 255))]) is None
    silent = FakePipeline()
    silent.in_world = lambda _view: None
    assert world.outside(silent, [view((1, 2, 3))]) is None


def test_the_menu_offers_the_loaded_model_first_and_sizes_of_downloads():
    offered = world.choices("some/folder")
    assert next(iter(offered)) == "some/folder"
    assert all("download" in label for name, label in offered.items() if name.startswith("llava-hf/"))


def test_a_model_that_only_compares_is_not_offered_for_a_chat(tmp_path, monkeypatch):
    for name, config in (("writer", tiny_llava), ("judge", tiny_clip)):
        config(tmp_path / name)
    monkeypatch.setattr(loading, "EMBEDDED", tmp_path)
    world.writes.cache_clear()
    offered = world.choices("some/folder")
    world.writes.cache_clear()
    assert "writer" in offered and "judge" not in offered
