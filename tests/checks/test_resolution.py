"""What was lost or invented on the way to the model's pixels, of pictures laid out by real processors."""

from __future__ import annotations

import pytest
from PIL import Image
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from tests.kit.tiny import tiny_llava
from tests.kit.views import whole
from vlm_demo import Pipeline
from vlm_demo.checks import resolution
from vlm_demo.contracts.checks import FAIL, OPEN, PASS, WARN

# Way of the processor → (width, height) of an upload → the verdict, and a word of why. It makes 48 × 48 pixels of it.
CASES = {
    "squash": {
        (48, 48): (PASS, "Nothing"),
        (60, 60): (PASS, "Nothing"),
        (30, 30): (PASS, "Nothing"),
        (180, 180): (PASS, "Nothing"),
        (200, 200): (WARN, "17 pixels become one"),
        (64, 48): (WARN, "squashed"),
        (48, 64): (WARN, "squashed"),
        (100, 48): (FAIL, "squashed"),
        (48, 300): (FAIL, "squashed"),
        (20, 20): (WARN, "enlarged 2.4 times"),
        (8, 8): (WARN, "enlarged 6.0 times"),
    },
    "crop": {
        (48, 48): (PASS, "Nothing"),
        (50, 48): (PASS, "Nothing"),
        (64, 48): (WARN, "never sees 25%"),
        (48, 64): (WARN, "never sees 25%"),
        (110, 48): (FAIL, "never sees 56%"),
        (48, 200): (FAIL, "never sees 76%"),
        (300, 300): (WARN, "39 pixels become one"),
        (20, 20): (WARN, "enlarged"),
    },
    "pad": {
        (48, 48): (PASS, "Nothing"),
        (64, 48): (PASS, "Nothing"),
        (48, 64): (PASS, "Nothing"),
        (130, 48): (WARN, "63% of what the model gets is padding"),
        (48, 130): (WARN, "padding"),
        (600, 40): (FAIL, "less than one patch wide"),
        (40, 600): (FAIL, "less than one patch wide"),
        (300, 300): (WARN, "pixels become one"),
        (16, 16): (WARN, "enlarged 3.0 times"),
    },
}
PLANTED = [(way, size, *told) for way, own in CASES.items() for size, told in own.items()]


@pytest.fixture(scope="module")
def pipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pipeline]:
    padding = LlavaImageProcessorPil(size={"height": 48, "width": 48}, do_pad=True, do_center_crop=False)
    made = {"squash": {}, "crop": {"crop": True}, "pad": {"image_processor": padding}}
    return {
        way: Pipeline.from_pretrained(tiny_llava(tmp_path_factory.mktemp(way), **settings))
        for way, settings in made.items()
    }


@pytest.mark.parametrize("way, size, verdict, word", PLANTED)
def test_the_verdict_of_a_planted_picture(pipes, way: str, size: tuple[int, int], verdict: str, word: str) -> None:
    own = resolution.check([pipes[way].view(Image.new("RGB", size))])
    assert (own.verdict, word in own.why) == (verdict, True), own
    assert bool(own.remedy) == (verdict != PASS)


def test_the_values_are_those_of_the_processors_arithmetic(pipes) -> None:
    cropped = resolution.check([pipes["crop"].view(Image.new("RGB", (96, 192)))]).values
    # The shorter side becomes 48, the longer 96, of which 48 are kept: half of it.
    assert (cropped["seen_width"], cropped["seen_height"]) == (48, 48)
    assert cropped["cropped"] == pytest.approx(0.5) and cropped["shrunk"] == pytest.approx(2.0)
    padded = resolution.check([pipes["pad"].view(Image.new("RGB", (96, 192)))]).values
    assert (padded["seen_width"], padded["seen_height"]) == (24, 48)
    assert padded["padding"] == pytest.approx(0.5) and padded["shrunk"] == pytest.approx(4.0)
    assert (padded["tile_width"], padded["tile_height"], padded["squashed"]) == (48, 48, pytest.approx(1.0))


def test_the_picture_that_fared_worst_is_told() -> None:
    own = resolution.check([whole((48, 48), (48, 48)), whole((480, 480), (48, 48))])
    assert own.verdict == WARN and "Of the picture 2 100 pixels become one" in own.why
    assert own.measured == "480 × 480 → 48 × 48, shrunk 10.0 times"


def test_where_the_processor_is_out_of_sight_nothing_is_claimed() -> None:
    assert resolution.check([whole((48, 48), (48, 48), grid=(1, 1))]).verdict == OPEN
