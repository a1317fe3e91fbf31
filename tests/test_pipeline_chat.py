"""``Pipeline.chat`` against plain ``generate`` with the same settings: prompt, processors, drawing, and its end."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import GenerationConfig, LlavaForConditionalGeneration, LlavaProcessor

from tests.kit.tiny import TEMPLATE, tokenizer
from vlm_demo import Answer, BadQuestion, BadSetting, Pipeline, Sampling
from vlm_demo.stages.choosing import TokenChoice
from vlm_demo.stages.prompt import PromptBuilder

QUESTION = "How many circles are there in the picture?"
LENGTH = 12


def asked(*pictures: object, question: str = QUESTION) -> dict[str, Any]:
    images = [{"type": "image", "image": picture} for picture in pictures]
    return {"role": "user", "content": [*images, {"type": "text", "text": question}]}


@pytest.fixture(scope="module")
def plain(checkpoint: Path):
    """(messages, pictures, options) → the prompt and the new tokens of plain transformers."""
    model = LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype="auto").eval()
    processor = LlavaProcessor.from_pretrained(checkpoint)

    def generate(messages: list[dict], pictures: list[Image.Image], **options: Any) -> tuple[str, list[int]]:
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        inputs = processor(images=pictures, text=text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(options.pop("seed", 0))
            out = model.generate(**inputs, max_new_tokens=LENGTH, **options)
        new = out[0, inputs["input_ids"].shape[1] :].tolist()
        return text, [token for token in new if token != model.generation_config.eos_token_id]

    return generate


@pytest.fixture
def unending(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The pipeline, which lets a random model repeat itself."""
    monkeypatch.setattr(pipe, "cuts_repetition", False)
    return pipe


def ids(answer: Answer) -> list[int]:
    return [token.id for token in answer.tokens]


class TestGreedy:
    def test_it_is_the_default(self, unending: Pipeline, plain, noise) -> None:
        picture = noise(90, 60)
        text, expected = plain([asked(picture)], [picture], do_sample=False)
        answer = unending.chat([asked(picture)], max_new_tokens=LENGTH)
        assert answer.prompt.text == text and ids(answer) == expected
        for settings in ({"temperature": 0}, {"temperature": 1e-39}, {"temperature": 0, "top_p": 0.5}, {"seed": 3}):
            assert ids(unending.chat([asked(picture)], max_new_tokens=LENGTH, **settings)) == expected

    @pytest.mark.parametrize("penalty", [1.5, 0.7])
    def test_a_repetition_penalty(self, unending: Pipeline, plain, noise, penalty: float) -> None:
        picture = noise(90, 60)
        _, expected = plain([asked(picture)], [picture], do_sample=False, repetition_penalty=penalty)
        without = unending.chat([asked(picture)], max_new_tokens=LENGTH)
        answer = unending.chat([asked(picture)], max_new_tokens=LENGTH, repetition_penalty=penalty)
        assert ids(answer) == expected != ids(without)

    def test_history_and_a_system_message(self, unending: Pipeline, plain, noise) -> None:
        pictures = [noise(90, 60, 1), noise(60, 60, 2)]
        messages = [
            {"role": "system", "content": [{"type": "text", "text": "Answer with a colour."}]},
            asked(pictures[0]),
            {"role": "assistant", "content": [{"type": "text", "text": "two"}]},
            asked(pictures[1], question="What colour is the star?"),
        ]
        text, expected = plain(messages, pictures, do_sample=False)
        answer = unending.chat(messages, max_new_tokens=LENGTH)
        assert "<|system|>Answer with a colour.<|user|>" in text
        assert answer.prompt.text == text and ids(answer) == expected
        assert [segment.kind for segment in answer.prompt.segments].count("system") == 1


class TestSampling:
    @pytest.mark.parametrize(
        "settings",
        [
            {"temperature": 1.0},
            {"temperature": 0.7, "top_k": 30},
            {"temperature": 1.3, "top_k": 50, "top_p": 0.8, "repetition_penalty": 1.4},
        ],
    )
    @pytest.mark.parametrize("seed", [1, 2])
    def test_a_seed_draws_what_generate_draws(self, unending, plain, noise, settings: dict, seed: int) -> None:
        picture = noise(90, 60)
        off = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
        _, expected = plain([asked(picture)], [picture], do_sample=True, seed=seed, **(off | settings))
        answer = unending.chat([asked(picture)], max_new_tokens=LENGTH, seed=seed, **settings)
        assert ids(answer) == expected
        assert ids(answer) != ids(unending.chat([asked(picture)], max_new_tokens=LENGTH))

    def test_seeds_differ_and_none_is_another_one_each_time(self, unending: Pipeline, noise) -> None:
        def drawn(seed: int | None) -> list[int]:
            return ids(unending.chat([asked(noise(90, 60))], max_new_tokens=LENGTH, temperature=2.0, seed=seed))

        assert drawn(1) == drawn(1) != drawn(2)
        assert len({tuple(drawn(None)) for _ in range(3)}) > 1

    def test_drawing_leaves_torchs_own_generator_alone(self, unending: Pipeline, noise) -> None:
        before = torch.random.get_rng_state()
        unending.chat([asked(noise(90, 60))], max_new_tokens=3, temperature=1.0, seed=1)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_shares_are_those_of_the_softmax(self) -> None:
        logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
        cases = [
            (Sampling(temperature=1.0, seed=0), logits.softmax(-1)[0]),
            (Sampling(temperature=0.5, seed=0), (logits / 0.5).softmax(-1)[0]),
            (Sampling(top_k=2, seed=0), torch.tensor([2.0, 1.0, -torch.inf, -torch.inf]).softmax(-1)),
            # .64, .24, .09, .03: the first two are the fewest that have 0.8 together
            (Sampling(top_p=0.8, seed=0), torch.tensor([2.0, 1.0, -torch.inf, -torch.inf]).softmax(-1)),
        ]
        for sampling, expected in cases:
            choice = TokenChoice(sampling, GenerationConfig())
            count = 2000
            shares = np.bincount([choice([0], logits) for _ in range(count)], minlength=4) / count
            spread = (expected * (1 - expected) / count).sqrt().numpy()
            assert (np.abs(shares - expected.numpy()) <= 4 * spread).all(), sampling


class TestStop:
    def test_the_answer_ends_before_it(self, unending: Pipeline, noise) -> None:
        messages = [asked(noise(90, 60))]
        whole = unending.chat(messages, max_new_tokens=LENGTH)
        for start in (1, len(whole.text) // 2):
            stop = whole.text[start : start + 2]
            end = whole.text.find(stop)
            for given in (stop, ["never written", stop]):
                answer = unending.chat(messages, max_new_tokens=LENGTH, stop=given)
                assert answer.text == whole.text[:end] == "".join(token.text for token in answer.tokens)
                assert ids(answer) == ids(whole)[: len(answer.tokens)]
                assert answer.trace is None or len(answer.trace.image) == len(answer.tokens)

    def test_what_is_never_written_changes_nothing(self, unending: Pipeline, noise) -> None:
        messages = [asked(noise(90, 60))]
        answer = unending.chat(messages, max_new_tokens=LENGTH, stop="never written")
        assert answer.tokens == unending.chat(messages, max_new_tokens=LENGTH).tokens


def test_several_conversations_are_answered_each_as_if_alone(unending: Pipeline, noise) -> None:
    batch = [[asked(noise(90, 60, 1))], [asked(noise(60, 90, 2), question="What colour is the star?")]]
    for settings in ({}, {"temperature": 1.0, "seed": 4}):
        answers = unending.chat(batch, max_new_tokens=6, **settings)
        assert [answer.tokens for answer in answers] == [
            unending.chat(conversation, max_new_tokens=6, **settings).tokens for conversation in batch
        ]
    with pytest.raises(BadQuestion, match="last message"):
        unending.chat([batch[0], [{"role": "system", "content": "x"}]])


def test_a_file_object_can_be_asked_about_twice(unending: Pipeline, noise) -> None:
    file = io.BytesIO()
    noise(90, 60).save(file, "PNG")
    answers = [unending.chat([asked(picture)], max_new_tokens=4) for picture in (file, file, noise(90, 60))]
    assert len({answer.tokens for answer in answers}) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": "hot"},
        {"top_p": 0},
        {"top_p": 1.5},
        {"top_k": 0},
        {"top_k": 2.5},
        {"seed": -1},
        {"seed": True},
        {"repetition_penalty": 0},
        {"repetition_penalty": 1e30},
        {"max_new_tokens": 0},
        {"stop": ""},
        {"stop": ["a", 1]},
    ],
    ids=str,
)
def test_settings_out_of_their_range_are_named(pipe: Pipeline, noise, settings: dict) -> None:
    with pytest.raises(BadSetting) as caught:
        pipe.chat([asked(noise(9, 9))], **settings)
    (name,) = settings
    assert name in str(caught.value) and str(caught.value).endswith(".") and "\n" not in str(caught.value)


PARTS = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
SYSTEMS = {
    "parts only": (TEMPLATE, "<s><|system|>Be brief.<|user|>"),
    "text only": (
        "{% if messages[0]['role'] == 'system' %}{{ 'SYSTEM ' + messages[0]['content'] + '\n' }}"
        "{% set messages = messages[1:] %}{% endif %}" + PARTS,
        "SYSTEM Be brief.\n<|user|>",
    ),
    "left out": (
        PARTS.replace("in messages", "in messages if message['role'] != 'system'"),
        "<|user|><image><image>Be brief.\n\nWhat is it?",
    ),
    "refused": (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + PARTS,
        "<|user|><image><image>Be brief.\n\nWhat is it?",
    ),
}


@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_system_message_goes_where_the_template_writes_one(kind: str) -> None:
    template, expected = SYSTEMS[kind]
    words = tokenizer()
    image = words.convert_tokens_to_ids("<image>")
    build = PromptBuilder(words, template, image, 4096)
    expected = expected.replace("<image><image>", "<image>")
    prompt = build("What is it?", [2], system="Be brief.")
    assert prompt.text.startswith(expected), prompt.text
    assert prompt.text.count("Be brief.") == 1 and prompt.image_tokens == 2
    assert any(segment.kind == "system" for segment in prompt.segments)
    assert build("What is it?", [2], system=" ") == build("What is it?", [2])
    # A control string in it is text.
    built = build("What is it?", [2], system="Say <image></s>.")
    assert built.ids.count(image) == 2 and built.ids.count(words.eos_token_id) == prompt.ids.count(words.eos_token_id)
