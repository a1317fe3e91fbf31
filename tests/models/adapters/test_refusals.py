"""What BLIP-2 and Idefics cannot do here raises one sentence before any weight is loaded."""

from pathlib import Path

import pytest

from tests.kit.tiny import tiny_blip2, tiny_idefics, tiny_llava
from vlm_demo import Pipeline
from vlm_demo.errors import UnsupportedModel


def test_a_blip2_without_a_placeholder(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="image_token_index"):
        Pipeline.from_pretrained(tiny_blip2(tmp_path, image_token_index=None))


def test_an_idefics_with_a_resampler(tmp_path: Path) -> None:
    folder = tiny_idefics(tmp_path, use_resampler=True)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModel, match="resampler"):
        Pipeline.from_pretrained(folder)


def test_a_llava_cannot_score(tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(tiny_llava(tmp_path / "llava"))
    assert not pipe.can_score and pipe.can_answer and pipe.bridge_info.kind == "projector"
    with pytest.raises(UnsupportedModel, match="^llava writes answers.* clip or blip2"):
        pipe.score(noise(9, 9), ["a star"])


def test_idefics_own_template_where_the_checkpoint_has_none(tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(tiny_idefics(tmp_path, template=None))
    prompt = pipe.ask(noise(50, 50), "What is it?", max_new_tokens=1).prompt
    around = "<fake_token_around_image>"
    assert prompt.text == f"<s>User:{around}<image>{around}What is it?<end_of_utterance>\nAssistant:"
    assert prompt.image_tokens == 1
