"""Models of a class that is unknown here still answer, by plain ``generate`` and their own processor, and say so."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    Blip2Processor,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    Gemma2Config,
    LlavaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)

from tests.kit.tiny import SPECIAL, llama, tiny_blip2, tokenizer, without, write
from tests.kit.tiny import noise as noised
from vlm_demo import Pipeline, Turn
from vlm_demo.contracts import StageEvent
from vlm_demo.errors import BadQuestion, Stopped, UnsupportedModel, VlmDemoError
from vlm_demo.runtime import repetition

QUESTION = "How many circles are there in the picture?"
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "image_size": 24, "patch_size": 6}


def written(model: PreTrainedModel, words: object, folder: Path) -> None:
    noised(model, {"vision_tower": 0.35})
    write(model, folder, {token: words.convert_tokens_to_ids(token) for token in SPECIAL}, torch.float32)


def vip_llava(folder: Path) -> Path:
    torch.manual_seed(0)
    words = tokenizer()
    config = VipLlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, num_hidden_layers=3),
        text_config=llama(words, 32),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layers=[-1, -2],
        image_seq_length=16,
    )
    written(VipLlavaForConditionalGeneration(config), words, folder)
    size = {"height": 24, "width": 24}
    pictures = CLIPImageProcessorPil(size=size, crop_size=size)
    LlavaProcessor(
        pictures,
        words,
        patch_size=6,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=words.chat_template,
    ).save_pretrained(folder)
    return folder


def paligemma2(folder: Path) -> Path:
    """Its class is known, but a Gemma 2's attention is capped, which no tapped attention is."""
    torch.manual_seed(0)
    words = tokenizer()
    words.chat_template = None
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}
    config = PaliGemmaConfig(
        vision_config=SiglipVisionConfig(**VISION, num_hidden_layers=2, projection_dim=32, vision_use_head=False),
        text_config=Gemma2Config(vocab_size=len(words), num_key_value_heads=2, sliding_window=16, **text),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
    )
    written(PaliGemmaForConditionalGeneration(config), words, folder)
    pictures = SiglipImageProcessorPil(size={"height": 24, "width": 24}, image_seq_length=16)
    PaliGemmaProcessor(pictures, words).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[vip_llava, paligemma2])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = request.param(tmp_path_factory.mktemp("whole"))
    plain = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    return SimpleNamespace(folder=folder, pipe=Pipeline.from_pretrained(folder), plain=plain, processor=processor)


def generated(made: SimpleNamespace, picture: object, **settings: object) -> list[int]:
    text = f"<s><|user|><image>{QUESTION}<|assistant|>" if made.processor.chat_template else f"<image>{QUESTION}"
    special = {"add_special_tokens": False} if made.processor.chat_template else {}
    inputs = made.processor(images=[picture], text=[text], return_tensors="pt", **special)
    inputs.pop("labels", None)
    settings = {"do_sample": False, "max_new_tokens": 8} | settings
    out = made.plain.generate(**inputs, **settings)[0].tolist()[inputs["input_ids"].shape[1] :]
    end = made.plain.generation_config.eos_token_id
    return out[: out.index(end)] if end in out else out


def test_it_answers_as_plain_transformers_does(made: SimpleNamespace, noise) -> None:
    answers = [made.pipe.ask(noise(90, 60, seed), QUESTION, max_new_tokens=8) for seed in range(4)]
    for seed, answer in enumerate(answers):
        assert [token.id for token in answer.tokens] == generated(made, noise(90, 60, seed))
        assert all(0 < token.probability <= 1 for token in answer.tokens)
    assert len({answer.text for answer in answers}) > 1  # the picture matters


def test_a_seed_draws_what_generate_draws(made: SimpleNamespace, noise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made.pipe, "cuts_repetition", False)
    picture = noise(90, 60)
    settings = {"temperature": 1.2, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.3}
    messages = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": QUESTION}]}]
    before = torch.random.get_rng_state()
    answer = made.pipe.chat(messages, max_new_tokens=4, seed=5, **settings)
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = generated(made, picture, max_new_tokens=4, do_sample=True, **settings)
    assert [token.id for token in answer.tokens] == expected


def test_a_system_message(made: SimpleNamespace, noise) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    messages[1]["content"] = [{"type": "image", "image": noise(60, 60)}, {"type": "text", "text": QUESTION}]
    prompt = made.pipe.chat(messages, max_new_tokens=1).prompt
    expected = "<|system|>Be brief.<|user|>" if made.processor.chat_template else "Be brief.\n\n"
    assert expected in prompt.text and prompt.text.count("Be brief.") == 1 and prompt.image_tokens == 16


def test_a_flash_attention_that_a_config_names_is_not_followed(made: SimpleNamespace, tmp_path: Path, noise) -> None:
    """Where it is not installed, transformers would take a kernel of the hub for it."""
    folder = Path(shutil.copytree(made.folder, tmp_path / "x"))
    config = json.loads((folder / "config.json").read_text())
    flash = {"attn_implementation": "flash_attention_2"}
    config |= flash | {"text_config": config["text_config"] | flash}
    (folder / "config.json").write_text(json.dumps(config))
    pipes = (made.pipe, Pipeline.from_pretrained(folder))
    answers = [pipe.ask(noise(90, 60), QUESTION, max_new_tokens=3) for pipe in pipes]
    assert answers[0].tokens == answers[1].tokens


def test_it_says_what_it_cannot_show(made: SimpleNamespace, noise) -> None:
    pipe = made.pipe
    assert pipe.can_answer and not pipe.can_explain and not pipe.can_score
    assert pipe.bridge_info.kind == "whole" and "without heatmaps" in pipe.bridge_info.text
    *events, answer = pipe.stream(noise(90, 60), QUESTION, max_new_tokens=2)
    assert [event.name for event in events if isinstance(event, StageEvent)] == ["view", "prompt", "prefill", "decode"]
    assert answer.trace is None and np.array_equal(answer.view.processed, np.asarray(noise(90, 60)))
    with pytest.raises(VlmDemoError, match="No attention"):
        answer.heatmap(0)
    for call in (lambda: pipe.explain(noise(9, 9), "What?", "a star"), lambda: pipe.heatmap(answer, 0)):
        with pytest.raises(UnsupportedModel, match="one piece"):
            call()


def test_a_second_turn(made: SimpleNamespace, noise) -> None:
    answer = made.pipe.ask([], QUESTION, history=[Turn("What is it?", "a star", (noise(60, 60),))], max_new_tokens=2)
    assert "What is it?" in answer.prompt.text and answer.prompt.image_tokens == 16


def test_control_strings_are_refused(made: SimpleNamespace, noise) -> None:
    with pytest.raises(BadQuestion, match="<image> is a command"):
        made.pipe.ask(noise(60, 60), "What does <image> mean?")


def test_it_can_be_stopped(made: SimpleNamespace, noise) -> None:
    asked = iter([False] * 12)
    with pytest.raises(Stopped):
        list(made.pipe.stream(noise(60, 60), QUESTION, cancelled=lambda: next(asked, True)))


def test_without_a_processor_it_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = without(vip_llava(tmp_path / "a"), tmp_path / "b", "processor_config.json")
    with pytest.raises(UnsupportedModel):
        Pipeline.from_pretrained(folder)


@torch.no_grad()
def test_a_blip2_with_an_encoder_decoder_answers_too(tmp_path: Path, noise) -> None:
    folder = tiny_blip2(tmp_path, lm="t5", template=None)
    words = tokenizer()
    bare = PreTrainedTokenizerFast(
        tokenizer_object=words.backend_tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    Blip2Processor(AutoImageProcessor.from_pretrained(folder, backend="pil"), bare, 5).save_pretrained(folder)
    pipe = Pipeline.from_pretrained(folder)
    assert not pipe.can_explain and pipe.bridge_info.kind == "whole"
    plain = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    for seed in range(3):
        inputs = processor(images=[noise(60, 90, seed)], text=[QUESTION], return_tensors="pt")
        out = plain.generate(**inputs, do_sample=False, max_new_tokens=6)[0].tolist()[1:]
        answer = pipe.ask(noise(60, 90, seed), QUESTION, max_new_tokens=6)
        end = plain.generation_config.eos_token_id
        assert [token.id for token in answer.tokens] == (out[: out.index(end)] if end in out else out)


def test_a_loop_ends_the_generation_and_is_cut(tmp_path: Path, noise, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipeline.from_pretrained(vip_llava(tmp_path))
    for layer in pipe.model.model.language_model.layers:
        layer.self_attn.o_proj.weight.data.zero_()  # from token to token alone: a loop is certain
    pipe.model.generation_config.eos_token_id = []
    lengths: list[int] = []
    generate = pipe.model.generate
    monkeypatch.setattr(pipe.model, "generate", lambda **given: _counted(generate(**given), lengths))
    answer = pipe.ask(noise(60, 60), QUESTION, max_new_tokens=200)
    assert answer.cut and lengths == [len(answer.tokens) + answer.cut] and lengths[0] < 200
    monkeypatch.setattr(repetition, "SPAN", 1000)
    monkeypatch.setattr(repetition, "TIMES", 1000)
    uncut = pipe.ask(noise(60, 60), QUESTION, max_new_tokens=200)
    assert uncut.tokens[: len(answer.tokens)] == answer.tokens and lengths[1] == len(uncut.tokens) == 200


def _counted(made: object, lengths: list[int]) -> object:
    lengths.append(len(made.logits))
    return made
