"""What every family that writes must show against plain transformers: the same pixels, the same ids, the same tokens.

A family's test file makes one tiny checkpoint, defines how plain transformers is given pictures and a text, and
inherits these tests.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from transformers import AutoImageProcessor, AutoTokenizer

from tests.models.adapters.remembering import remembering_changes_nothing
from tests.models.adapters.together import written_alone, written_together
from vlm_demo import Pipeline, Turn
from vlm_demo.contracts import PatchGrid, View
from vlm_demo.contracts.geometry import interpolate

QUESTION = "How many circles are there in the picture?"
SQUARE, PORTRAIT, LANDSCAPE = (120, 120), (90, 160), (200, 70)
TOKENS = 8


@dataclass
class Both:
    """One checkpoint, loaded by us and by plain transformers."""

    folder: Path

    def __post_init__(self) -> None:
        self.pipe = Pipeline.from_pretrained(self.folder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.image_processor = AutoImageProcessor.from_pretrained(self.folder, backend="pil")
        self.plain = self._loaded("sdpa")

    def _loaded(self, attention: str) -> Any:
        kind = type(self.pipe.model)
        return kind.from_pretrained(self.folder, dtype="auto", attn_implementation=attention).eval()

    @cached_property
    def eager(self) -> Any:
        return self._loaded("eager")

    def text(self, question: str, images: int, history: tuple[Turn, ...] = ()) -> str:
        """The filled chat template."""
        messages: list[dict[str, Any]] = []
        for turn in (*history, Turn(question, "", (None,) * images)):
            pictures = [{"type": "image"}] * len(turn.images)
            messages.append({"role": "user", "content": [*pictures, {"type": "text", "text": turn.question}]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
        return self.tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, tokenize=False)

    @torch.no_grad()
    def generated(self, inputs: dict[str, torch.Tensor]) -> list[int]:
        """Greedy, without the end token."""
        out = self.plain.generate(**inputs, do_sample=False, max_new_tokens=TOKENS)[0].tolist()
        new = out[inputs["input_ids"].shape[1] :]
        end = self.plain.generation_config.eos_token_id
        return new[: new.index(end)] if end in new else new


class Parity(ABC):
    """What every family has to stand."""

    @staticmethod
    @abstractmethod
    def make(folder: Path) -> Path:
        """Write a tiny checkpoint of the family into ``folder``."""

    @staticmethod
    @abstractmethod
    def inputs(both: Both, pictures: list[Image.Image], text: str) -> dict[str, torch.Tensor]:
        """What plain transformers is given."""

    def text_of(self, both: Both, images: int, history: tuple[Turn, ...] = ()) -> str:
        return both.text(QUESTION, images, history)

    def asked(self, both: Both, pictures: list[Image.Image], history: tuple[Turn, ...] = ()) -> None:
        """Ask both the same, and compare."""
        earlier = [picture for turn in history for picture in turn.images]
        inputs = self.inputs(both, [*earlier, *pictures], self.text_of(both, len(pictures), history))
        answer = both.pipe.ask(pictures, QUESTION, history=history, max_new_tokens=TOKENS)
        assert list(answer.prompt.ids) == inputs["input_ids"][0].tolist()
        assert [token.id for token in answer.tokens] == both.generated(inputs)
        for index, view in enumerate(answer.views):
            assert answer.trace is None or answer.trace.rows(index).shape[-1] == len(view.boxes)
            heat = answer.heatmap(0, image=index)
            assert heat.shape == view.size[::-1] and np.isfinite(heat).all()

    @torch.no_grad()
    def test_the_picture_matters(self, both: Both, noise) -> None:
        """Without this, equal tokens would prove nothing."""
        text = self.text_of(both, 1)
        one, two = (both.plain(**self.inputs(both, [noise(*SQUARE, seed)], text)).logits[0, -1] for seed in (1, 2))
        assert (one - two).abs().max() > 0.1

    @pytest.mark.parametrize("size", [SQUARE, PORTRAIT, LANDSCAPE])
    def test_greedy_tokens_are_equal(self, both: Both, noise, size: tuple[int, int]) -> None:
        for seed in range(2):
            self.asked(both, [noise(*size, seed)])

    def test_several_pictures_and_a_history(self, both: Both, noise) -> None:
        first, second, third = noise(*LANDSCAPE, 1), noise(*PORTRAIT, 2), noise(*SQUARE, 3)
        self.asked(both, [second, third], (Turn("What colour is the star?", "a red star", (first,)),))

    def test_answers_written_together_are_those_written_alone(self, both: Both, noise) -> None:
        pictures = [noise(*size, 4 + i) for i, size in enumerate((SQUARE, PORTRAIT, LANDSCAPE))]
        asked = both.pipe, pictures, QUESTION, TOKENS
        assert written_together(*asked) == written_alone(*asked)

    def test_a_second_turn(self, both: Both, noise) -> None:
        self.asked(both, [], (Turn("What colour is the star?", "a red star", (noise(*PORTRAIT, 3),)),))

    def test_remembering_changes_nothing(self, both: Both, noise) -> None:
        remembering_changes_nothing(both.pipe, noise(*PORTRAIT, 6), noise(*LANDSCAPE, 7), noise(*SQUARE, 8))

    def test_a_second_turn_that_is_remembered(self, both: Both, noise) -> None:
        picture = noise(*PORTRAIT, 3)
        both.pipe.forget()
        both.pipe.ask(picture, "What colour is the star?", max_new_tokens=1)
        encoder = both.pipe.stages().llm.family.encoder_layers[0]
        hook = encoder.register_forward_pre_hook(lambda *_: pytest.fail("It was encoded again."))
        try:
            self.asked(both, [], (Turn("What colour is the star?", "a red star", (picture,)),))
        finally:
            hook.remove()

    def test_reading_an_answer_back_gives_the_decoding_steps(self, both: Both, noise) -> None:
        pipe, picture = both.pipe, noise(*LANDSCAPE, 4)
        answer = pipe.ask(picture, QUESTION, max_new_tokens=4)
        tokens = pipe.stages().bridge(pipe.stages().encoder(pipe.view.with_pixels(answer.view)), None, answer.prompt)
        steps = pipe.stages().llm.read(answer.prompt, tokens, [token.id for token in answer.tokens])
        for i, step in enumerate(steps):
            assert step.probability == pytest.approx(answer.tokens[i].probability, abs=1e-3)

    def test_all_but_the_language_model_is_kept_from_quantization(self, both: Both) -> None:
        """bitsandbytes takes names as full paths, and quantizes without a word what none of them covers."""
        family = both.pipe.stages().family
        inside = {id(module) for layer in family.language_layers for module in layer.modules()}
        for name, module in both.pipe.model.named_modules():
            if isinstance(module, torch.nn.Linear):
                kept = any(name == path or name.startswith(f"{path}.") for path in family.keep_unquantized)
                assert kept == (id(module) not in inside), name


def emptied(folder: Path) -> Pipeline:
    """The checkpoint with all layers of its encoder emptied: a feature knows of its own patch alone."""
    pipe = Pipeline.from_pretrained(folder)
    with torch.no_grad():
        for layer in (pipe.scoring or pipe.stages()).family.encoder_layers:
            for module in layer.modules():
                if isinstance(module, torch.nn.Linear):
                    module.weight.zero_()
                    module.bias is None or module.bias.zero_()
    return pipe


def turned(picture: Image.Image) -> bytes:
    """The file of a picture that its camera stored on its side, with a note which way is up (EXIF orientation 6)."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    return file.getvalue()


def apart(boxes: np.ndarray, region: np.ndarray) -> np.ndarray:
    """[boxes], how many pixels lie between each box and the region; how deep they overlap, where that is negative."""
    return np.concatenate([region[:2] - boxes[:, 2:], boxes[:, :2] - region[2:]], 1).max(1)


class Placed:
    """Each image token's box is where the picture that it stands for really lies.

    With all layers of the encoder emptied a token knows of its own patches alone. The margin is the reach of the
    processors' resize filters, which is wider the more they shrink.

    Attributes:
        pixels: how wide a token of the thumbnail is, in pixels of the thumbnail.
    """

    pixels = 6

    @staticmethod
    def tokens(pipe: Pipeline, views: list[View]) -> torch.Tensor:
        """What stands for the patches of all pictures: [tokens, width]."""
        return pipe.stages().bridge(pipe.stages().encoder(views)).embeddings

    def margin(self, view: View, patch_grid: PatchGrid) -> float:
        """How far from a token's box a change may reach it, in the upload's pixels."""
        finest = patch_grid is view.patch_grids[0]
        pixels = view.processed.shape[1] / patch_grid.grid[1] if finest else self.pixels
        # A thumbnail may be made of what was already resized once.
        return (3 if finest else 4) * max(1.0, float(patch_grid.boxes[0, 2] - patch_grid.boxes[0, 0]) / pixels) + 1

    @torch.no_grad()
    def test_a_change_reaches_the_tokens_whose_boxes_it_touches(self, both: Both, noise) -> None:
        pipe = emptied(both.folder)
        leading = (pipe.scoring or pipe.stages()).family.leading_tokens
        for size in ((96, 64), (64, 96)):
            picture = noise(*size, 1)
            region = np.array([size[0] * 0.5, size[1] * 0.25, size[0] * 0.75, size[1] * 0.5])
            changed = picture.copy()
            changed.paste(noise(*size, 2).crop(tuple(region.astype(int))), tuple(region[:2].astype(int)))
            views = [pipe.view(image) for image in (picture, changed)]
            one, two = (self.tokens(pipe, [view]) for view in views)
            moved = ((one - two).abs().amax(-1) > 1e-6).numpy()
            assert not moved[:leading].any()
            moved = moved[leading:]
            placed = np.zeros(len(moved), bool)
            for patch_grid in views[0].patch_grids:
                touched, away = moved[patch_grid.tokens], apart(patch_grid.boxes, region)
                placed[patch_grid.tokens] = True
                margin = self.margin(views[0], patch_grid)
                assert touched[away < -1].all() and not touched[away > margin].any()
                assert patch_grid is not views[0].patch_grids[0] or ((away < -1).any() and (away > margin).any())
            assert not moved[~placed].any()

    @torch.no_grad()
    def test_of_two_pictures_the_changed_ones_own_map_shows_where(self, both: Both, noise) -> None:
        """From image tokens to the upload's pixels as in an answer; the second picture was stored on its side."""
        pipe = emptied(both.folder)
        first, second = noise(96, 64, 1), noise(64, 96, 3)
        region = np.array([32, 24, 48, 48])
        changed = second.copy()
        changed.paste(noise(64, 96, 2).crop(tuple(region)), tuple(region[:2]))
        before, after = ([pipe.view(first), pipe.view(turned(image))] for image in (second, changed))
        moved = (self.tokens(pipe, before) - self.tokens(pipe, after)).abs().amax(-1).numpy() > 1e-6
        nothing, found = self.on_patches(pipe, before, moved)
        view = before[1]
        assert view.size == (64, 96) and not nothing.any()
        away = apart(view.boxes, region)
        # What rests on a thumbnail's token is spread over all that it covers.
        reach = max(
            self.margin(view, patch_grid)
            + (patch_grid is not view.patch_grids[0]) * float((patch_grid.boxes[0, 2:] - patch_grid.boxes[0, :2]).max())
            for patch_grid in view.patch_grids
        )
        assert (found[away < -1] > 0).all() and not found[away > reach].any()
        assert (away < -1).any() and (away > reach).any() or len(view.patch_grids) > 1
        y, x = np.unravel_index(interpolate(found, view).argmax(), view.size[::-1])
        width, height = view.boxes[0, 2:] - view.boxes[0, :2]
        assert region[0] - width <= x < region[2] + width and region[1] - height <= y < region[3] + height

    def on_patches(self, pipe: Pipeline, views: list[View], moved: np.ndarray) -> list[np.ndarray]:
        """Which patches of each picture the tokens stand for, by the trace of an answer about these pictures."""
        trace = pipe.explain([view.image for view in views], QUESTION, "star").trace
        assert trace is not None and sum(trace.counts) == len(moved)
        return [trace.on_patches(moved.astype(np.float32), i) for i in range(len(views))]


class RowParity(Placed, Parity):
    """And the same attention, of families whose image tokens stand among the words."""

    @torch.no_grad()
    def test_rows_are_eagers(self, both: Both, noise) -> None:
        inputs = self.inputs(both, [noise(*PORTRAIT, 5)], self.text_of(both, 1))
        attentions = both.eager(**inputs, output_attentions=True).attentions
        answer = both.pipe.ask(noise(*PORTRAIT, 5), QUESTION, max_new_tokens=1)
        positions = list(answer.prompt.image_positions)
        rows = torch.stack([layer[0, :, -1, positions] for layer in attentions])
        assert (rows - torch.tensor(answer.trace.image[0]).float()).abs().max() < 1e-3
