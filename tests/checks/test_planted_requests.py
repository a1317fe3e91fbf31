"""Of more than a hundred requests, sound ones and ones that were broken on purpose, each gets the verdict it should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.kit import broken_prompts
from tests.kit.tiny import tiny_blip2, tiny_idefics, tiny_llava
from tests.models.test_quantization import FAMILIES
from vlm_demo import Pipeline
from vlm_demo.contracts import Check
from vlm_demo.contracts.checks import FAIL, PASS
from vlm_demo.errors import ImageTokensMismatch

SIZES = ((120, 120), (90, 160), (200, 70))
QUESTION = "How many circles are there in the picture?"
MAKERS = {
    "llava": tiny_llava,
    "llava without CLS": lambda folder: tiny_llava(folder, tower="siglip"),
    "llava with CLS": lambda folder: tiny_llava(folder, vision_feature_select_strategy="full"),
    "blip2": tiny_blip2,
    "idefics": tiny_idefics,
} | {name: parity.make for name, (parity, *_) in FAMILIES.items()}


def picture(size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((10, 10, 50, 50), fill="red")
    return image


def image_tokens(pipe: Pipeline, size: tuple[int, int]) -> Check:
    """The check of a request's image tokens, whether or not the request could be answered."""
    try:
        return pipe.ask(picture(size), QUESTION, max_new_tokens=1).checks[0]
    except ImageTokensMismatch as error:
        return error.check


def planted(pipe: Pipeline, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, str, str, Check]]:
    """(case, the verdict it should get, words that its sentence should hold, its check) of many requests."""
    for size in SIZES:
        yield f"sound {size}", PASS, "none missing", image_tokens(pipe, size)
    sound = pipe.answering.build_prompt
    for name, (broken, words) in broken_prompts.WAYS.items():
        with patch.context() as own:
            own.setattr(pipe.answering, "build_prompt", lambda *given, broken=broken: broken(sound(*given)))
            yield name, FAIL, words, image_tokens(pipe, SIZES[0])


def test_broken_and_sound_prompts_of_every_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property
) -> None:
    cases, wrong = 0, []
    for family, make in MAKERS.items():
        pipe = Pipeline.from_pretrained(make(tmp_path / family))
        for case, verdict, words, found in planted(pipe, monkeypatch):
            cases += 1
            if found.verdict != verdict or words not in found.why:
                wrong.append(f"{family}, {case}: {found.verdict}, {found.why}")
    record_property("cases", cases)
    assert cases >= 100
    assert wrong == []
