"""LLaVA with a ViT trained through all stages in small, exported, put together, and answering."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

from tests.models import gguf_file, onnx_kit
from vlm_demo import Pipeline
from vlm_demo.models import parts, user_cache
from vlm_demo.training import finetune, llava_vit
from vlm_demo.training.mixture import load_pixels

COLOURS = {"red": (220, 20, 20), "green": (20, 160, 20), "blue": (20, 20, 220)}


def photographs(root: Path, count: int) -> Path:
    (root / "flickr8k" / "img").mkdir(parents=True)
    lines = []
    for i in range(count):
        name = list(COLOURS)[i % 3]
        Image.new("RGB", (60, 40), COLOURS[name]).save(root / "flickr8k" / "img" / f"{i:05}.png")
        lines.append(
            json.dumps(
                {
                    "image": f"img/{i:05}.png",
                    "captions": [f"A {name} wall behind a tall tree.", f"The old wall is {name}."],
                }
            )
        )
    (root / "flickr8k" / "annotations.jsonl").write_text("\n".join(lines))
    return root


def test_all_stages_then_a_checkpoint_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cache, "folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(finetune, "compile_layers", lambda _parts: None)  # half a minute of compiling
    names = (("language_model", "words.gguf", gguf_file.write), ("vision_tower", "vit.onnx", onnx_kit.write))
    for role, file, write in names:
        name = llava_vit.RECIPE[role]
        write(tmp_path / file)
        part = replace(parts.PARTS[name], package="nowhere", sha256=parts.sha256(tmp_path / file), file=file)
        monkeypatch.setitem(parts.PARTS, name, part)
        parts.cached(part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).rename(parts.cached(part))
    recipe = llava_vit.RECIPE | {"image_size": 42}
    roots = [photographs(tmp_path / "photos", 60)]
    options = {"align_pictures": 40, "align_epochs": 1, "projector_minutes": 0.004}
    llava_vit.run(roots, tmp_path / "run", 0.004, log=lambda _: None, recipe=recipe, **options)
    logged = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any(line.get("stage") == 0 for line in logged) and any("held_out" in line for line in logged)

    target = tmp_path / "models" / "llava-vit"
    llava_vit.export(tmp_path / "run", target, recipe)
    trained = load_file(target / "trained.safetensors")
    assert any(name.startswith("lora.") and value.abs().max() > 0 for name, value in trained.items() if name[-1] == "B")
    pipe = Pipeline.from_pretrained(target)
    model = LlavaForConditionalGeneration.from_pretrained(pipe.folder)
    projector = model.model.multi_modal_projector.state_dict()
    assert all(torch.equal(projector[name], trained[f"projector.{name}"]) for name in projector)
    answer = pipe.ask(Image.new("RGB", (60, 40), "red"), "Describe the picture.", max_new_tokens=3)
    assert answer.tokens and pipe.view(Image.new("RGB", (60, 40), "red")).grid == (3, 3)


def test_pictures_are_padded_with_the_towers_own_mean(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), "red").save(tmp_path / "red.png")
    rng = np.random.default_rng(0)
    pixels = load_pixels(tmp_path / "red.png", 42, False, 1.0, rng, (123, 116, 103))
    assert pixels[0, 0].tolist() == [123, 116, 103] and pixels[21, 21].tolist() == [255, 0, 0]
