"""LLaVA: each token stands for the patch where its box lies; its tokens and rows are tested with the pipeline."""

from pathlib import Path

import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration

from tests.kit.tiny import tiny_llava
from tests.models.adapters.parity import Placed
from vlm_demo import Pipeline


class TestSquashed(Placed):
    @staticmethod
    def make(folder: Path) -> Path:
        return tiny_llava(folder, width=32)


class TestCropped(Placed):
    @staticmethod
    def make(folder: Path) -> Path:
        return tiny_llava(folder, width=32, crop=True, tower="siglip")


@torch.no_grad()
def test_the_fields_first_example_gives_the_same_text(tmp_path: Path, noise) -> None:
    """As it stands in the documentation of LLaVA, for a checkpoint whose template writes a picture as it does."""
    question, picture = "What is the main object and what is it doing?", noise(120, 90)
    template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )
    tiny_llava(tmp_path, template=template)
    processor = AutoProcessor.from_pretrained(tmp_path, backend="pil")
    plain = LlavaForConditionalGeneration.from_pretrained(tmp_path).eval()
    inputs = processor(images=picture, text=f"<image>\n{question}", return_tensors="pt")
    out = plain.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
    expected = processor.tokenizer.decode(out, skip_special_tokens=True)
    answer = Pipeline.from_pretrained(tmp_path).ask(picture, question, max_new_tokens=12)
    assert answer.text == expected and answer.prompt.text == f"<image>\n{question}"
