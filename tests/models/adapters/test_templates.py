"""The prompt that a family documents, for checkpoints without a chat template."""

from importlib import import_module

import pytest

from tests.kit.tiny import tokenizer
from vlm_demo.models.adapters import ADAPTERS

WRITERS = [
    adapter
    for module, name in ADAPTERS.values()
    if (adapter := getattr(import_module(f"vlm_demo.models.adapters.{module}"), name)).writes
]
PLACES = ("<image>", "<|image_pad|>", "<|image|>", "<start_of_image>", "<IMG_CONTEXT>")


@pytest.mark.parametrize("adapter", WRITERS, ids=lambda adapter: adapter.name)
def test_every_picture_has_a_place_and_the_words_stand_in_order(adapter: type) -> None:
    picture, words = {"type": "image"}, ("What is it?", "a star", "How many?")
    chat = [
        {"role": "user", "content": [picture, {"type": "text", "text": words[0]}]},
        {"role": "assistant", "content": [{"type": "text", "text": words[1]}]},
        {"role": "user", "content": [picture, picture, {"type": "text", "text": words[2]}]},
    ]
    rendered = tokenizer().apply_chat_template(
        chat, chat_template=adapter.fallback_template, add_generation_prompt=True, tokenize=False
    )
    assert sum(rendered.count(place) for place in PLACES) == 3
    assert rendered.index(words[0]) < rendered.index(words[1]) < rendered.index(words[2])
    assert all(rendered.count(text) == 1 for text in words)
