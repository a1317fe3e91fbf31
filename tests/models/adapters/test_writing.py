"""BLIP-2 and Idefics composed of visible stages against plain transformers' ``generate``: same prompt, same tokens."""

from pathlib import Path

import pytest
import torch
from transformers import BlipImageProcessorPil, IdeficsImageProcessorPil
from transformers.models.idefics.processing_idefics import (
    image_attention_mask_for_packed_input_ids,
    incremental_to_binary_attention_mask,
)

from tests.kit.stopping import stopped_after_the_first
from tests.kit.tiny import tiny_blip2, tiny_idefics
from tests.models.adapters.both import QUERIES, Both
from tests.models.adapters.together import written_alone, written_together
from vlm_demo import Pipeline, Turn
from vlm_demo.contracts import ImageTokens, StageEvent
from vlm_demo.ui.stage_words import detail

QUESTION = "How many circles are there in the picture?"
SIZES = [(120, 120), (90, 160), (200, 70)]
KINDS = {
    "blip2": (tiny_blip2, {}),
    "blip2, every second layer looks": (tiny_blip2, {"frequency": 2}),
    "blip2 with opt": (tiny_blip2, {"lm": "opt"}),
    "blip2 with opt, no template": (tiny_blip2, {"lm": "opt", "template": None}),
    "blip2 with heads": (tiny_blip2, {"heads": "together"}),
    "blip2 in bf16": (tiny_blip2, {"dtype": torch.bfloat16}),
    "blip2 in fp16": (tiny_blip2, {"dtype": torch.float16}),
    "idefics": (tiny_idefics, {}),
    "idefics, every second layer": (tiny_idefics, {"interval": 2, "qk_layer_norms": False}),
    "idefics in bf16": (tiny_idefics, {"dtype": torch.bfloat16}),
}


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bf16_as_stored: None) -> Both:
    make, settings = KINDS[request.param]
    return Both(make(tmp_path_factory.mktemp("kind"), **settings))


def text_of(both: Both, question: str, images: int = 1, history: tuple[Turn, ...] = ()) -> str:
    if both.tokenizer.chat_template is None:
        turns = "".join(f"Question: {turn.question} Answer: {turn.answer}. " for turn in history)
        return f"{turns}Question: {question} Answer:"
    return both.prompt(question, images, history)


class TestPlainTransformers:
    def test_the_picture_matters(self, both: Both, noise) -> None:
        """Without this, equal tokens would prove nothing: the gates of Idefics and BLIP-2's queries begin at zero."""
        one, two = (both.inputs([noise(100, 100, seed)], text_of(both, QUESTION)) for seed in (1, 2))
        assert (both.logits(one) - both.logits(two)).abs().max() > 0.1
        answers = {tuple(both.generated(both.inputs([noise(100, 100, i)], text_of(both, QUESTION)))) for i in range(6)}
        assert len(answers) > 1

    @pytest.mark.parametrize("size", SIZES)
    def test_greedy_tokens_are_equal(self, both: Both, noise, size: tuple[int, int]) -> None:
        for seed in range(3):
            picture = noise(*size, seed)
            inputs = both.inputs([picture], text_of(both, QUESTION))
            answer = both.pipe.ask(picture, QUESTION, max_new_tokens=12)
            assert list(answer.prompt.ids) == inputs["input_ids"][0].tolist()
            assert both.agrees([token.id for token in answer.tokens], inputs)

    def test_a_second_turn(self, both: Both, noise) -> None:
        picture = noise(90, 120, 3)
        history = (Turn("What colour is the star?", "a red star", (picture,)),)
        inputs = both.inputs([picture], text_of(both, QUESTION, 0, history))
        answer = both.pipe.ask([], QUESTION, history=history, max_new_tokens=12)
        assert list(answer.prompt.ids) == inputs["input_ids"][0].tolist()
        assert both.agrees([token.id for token in answer.tokens], inputs)

    # Without a chat template there is nothing to compare with: BLIP-2's own processor takes one picture.
    @pytest.mark.parametrize("both", [name for name in KINDS if "opt" not in name], indirect=True)
    def test_several_pictures(self, both: Both, noise) -> None:
        first, second, third = (noise(*size, seed=i) for i, size in enumerate(SIZES))
        history = (Turn("What colour is the star?", "a red star", (first,)), Turn("Is there a square?", "no"))
        inputs = both.inputs([first, second, third], text_of(both, QUESTION, 2, history))
        answer = both.pipe.ask([second, third], QUESTION, history=history, max_new_tokens=12)
        assert list(answer.prompt.ids) == inputs["input_ids"][0].tolist()
        assert both.agrees([token.id for token in answer.tokens], inputs)
        assert answer.heatmap(0, image=2).shape == (70, 200)

    def test_the_tap_changes_nothing(self, both: Both, noise) -> None:
        opened = both.pipe.ask(noise(80, 80), QUESTION, max_new_tokens=12)
        both.pipe.stages().llm.tapping = False
        try:
            closed = both.pipe.ask(noise(80, 80), QUESTION, max_new_tokens=12)
            assert not both.pipe.can_explain
        finally:
            both.pipe.stages().llm.tapping = True
        assert closed.tokens == opened.tokens
        assert closed.trace is None and opened.trace is not None

    def test_stored_precision_is_kept(self, both: Both) -> None:
        assert (
            both.pipe.precision
            == {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[
                both.plain.language_model.dtype if both.pipe.family == "blip2" else both.plain.dtype
            ]
        )
        held = {name: p.dtype for name, p in both.plain.named_parameters()}
        assert {name: p.dtype for name, p in both.pipe.model.named_parameters()} == held


@pytest.mark.parametrize("both", ["blip2", "blip2 with opt", "idefics"], indirect=True)
def test_answers_written_together_are_those_written_alone(both: Both, noise) -> None:
    asked = both.pipe, [noise(60, 60, seed) for seed in range(3)], QUESTION, 8
    assert written_together(*asked) == written_alone(*asked)


def test_reading_an_answer_back_gives_the_decoding_steps(both: Both, noise) -> None:
    pipe = both.pipe
    answer = pipe.ask(noise(90, 60), QUESTION, max_new_tokens=8)
    steps = pipe.stages().llm.read(
        answer.prompt,
        pipe.stages().bridge(pipe.stages().encoder(pipe.view.with_pixels(answer.view))),
        [token.id for token in answer.tokens],
    )
    near = 1e-3 if pipe.precision == "fp32" else 0.1  # the narrow ones round differently in one pass
    for i, step in enumerate(steps):
        assert step.probability == pytest.approx(answer.tokens[i].probability, abs=near)
        assert (step.rows.image[0] - torch.tensor(answer.trace.image[i]).float()).abs().max() < near


def test_the_closing_step_has_read_the_whole_answer(both: Both, noise) -> None:
    """Written or given, it is the step that would write one token more; an answer cut short has none."""
    pipe, near = both.pipe, 1e-3 if both.pipe.precision == "fp32" else 0.1
    longer = pipe.ask(noise(90, 60), QUESTION, max_new_tokens=5)
    assert longer.trace.closing is None and len(longer.tokens) == 5
    tokens = pipe.stages().bridge(pipe.stages().encoder(pipe.view.with_pixels(longer.view)))
    *_, last = pipe.stages().llm.read(longer.prompt, tokens, [token.id for token in longer.tokens[:4]])
    assert (last.closing.image[0] - torch.tensor(longer.trace.image[4]).float()).abs().max() < near
    ends, pipe.stages().llm.ends = pipe.stages().llm.ends, frozenset([longer.tokens[4].id])
    try:
        ended = pipe.ask(noise(90, 60), QUESTION, max_new_tokens=5)
    finally:
        pipe.stages().llm.ends = ends
    stop = [token.id for token in longer.tokens].index(longer.tokens[4].id)
    assert len(ended.tokens) == stop
    assert stop == 0 or abs(ended.trace.closing[0] - longer.trace.image[stop]).max() < near


def test_exchanging_image_tokens_exchanges_the_answers(both: Both, noise) -> None:
    pipe = both.pipe
    answers = [pipe.ask(noise(60, 60, seed), QUESTION, max_new_tokens=8) for seed in (1, 2)]
    tokens = pipe.stages().bridge(pipe.stages().encoder([pipe.view.with_pixels(answer.view) for answer in answers]))
    size = tokens.counts[0]
    for i in range(2):
        other = ImageTokens(tokens.embeddings[(1 - i) * size : (2 - i) * size], (size,))
        steps = list(pipe.stages().llm(answers[i].prompt, other, max_new_tokens=8))
        assert [step.id for step in steps] == [token.id for token in answers[1 - i].tokens]


@pytest.fixture(scope="module", params=["blip2", "idefics"])
def pipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    make, settings = KINDS[request.param]
    return Pipeline.from_pretrained(make(tmp_path_factory.mktemp("one"), **settings))


def test_what_the_page_shows_of_each_stage(pipe: Pipeline, noise) -> None:
    *stages, answer = [e for e in pipe.stream(noise(150, 100), QUESTION, max_new_tokens=3) if not hasattr(e, "token")]
    details = {stage.name: detail(stage) for stage in stages if isinstance(stage, StageEvent)}
    assert list(details) == ["view", "prompt", "encoder", "bridge", "prefill", "decode"]
    image_tokens = {"blip2": QUERIES, "idefics": 1}[pipe.family]
    assert answer.prompt.image_tokens == image_tokens
    assert details["prompt"] == f"{image_tokens} image + {len(answer.prompt.ids) - image_tokens} text tokens"
    assert details["view"] == "150×100 → 48×48"
    assert details["encoder"] == "48×48 → 17×64, 1 of them for the whole picture"
    expected = {
        "blip2": ("Q-Former", "17×64 → 5×64, 5 queries that look 4 times"),
        "idefics": ("cross-attention", "17×64 → 17×64, read by 4 gated layers of the language model"),
    }[pipe.family]
    assert (pipe.bridge_info.kind, details["bridge"]) == expected
    assert answer.view.grid == (4, 4) and len(answer.view.boxes) == 16
    assert answer.trace.rows(0).shape[-1] == 16
    share = answer.picture_share(0)
    assert share is None if pipe.family == "idefics" else 0 < share < 1
    parameters = sum(p.numel() * p.element_size() for p in pipe.model.parameters())
    assert parameters <= answer.memory.parameter_bytes < 1.01 * parameters + 10_000


def test_it_can_be_stopped_between_two_layers(pipe: Pipeline, noise) -> None:
    family, stopped = pipe.stages().llm.family, 0
    for layers in filter(None, (family.encoder_layers, family.bridge_layers, family.language_layers)):
        assert stopped_after_the_first(pipe, layers, noise(50, 50))
        stopped += 1
    assert stopped == {"blip2": 3, "idefics": 2}[pipe.family]


def test_control_strings_are_text(pipe: Pipeline, noise) -> None:
    answer = pipe.ask(noise(50, 50), "What does <image> </s> <|user|> mean?", max_new_tokens=1)
    assert answer.prompt.image_tokens == {"blip2": QUERIES, "idefics": 1}[pipe.family]
    assert answer.prompt.ids.count(pipe.stages().prompt.image_token_id) == answer.prompt.image_tokens


def test_a_token_sees_the_picture_that_idefics_own_processor_shows_it(tmp_path: Path, noise) -> None:
    """From the first picture on; before it, where the processor shows nothing, the first one."""
    pipe = Pipeline.from_pretrained(tiny_idefics(tmp_path))
    pictures = [noise(60, 60, seed) for seed in range(3)]
    prompt = pipe.stages().prompt("Which is it?", [1, 1], history=())
    shown, _ = image_attention_mask_for_packed_input_ids(torch.tensor([prompt.ids]), pipe.tokenizer, "pt")
    shown = incremental_to_binary_attention_mask(shown, "pt", num_classes=2)
    image_tokens = pipe.stages().bridge(pipe.stages().encoder([pipe.view(picture) for picture in pictures[:2]]))
    ours = pipe.stages().llm.family.language_model_inputs(image_tokens, prompt, range(len(prompt.ids)))[
        "image_attention_mask"
    ]
    first = prompt.image_positions[0]
    assert torch.equal(ours[:, first:], shown[:, first:]) and not shown[:, :first].any()
    assert (ours[0, :first, 0] == 1).all() and (ours.sum(-1) == 1).all()
    beyond = pipe.stages().llm.family.language_model_inputs(
        image_tokens, prompt, range(len(prompt.ids), len(prompt.ids) + 2)
    )
    assert beyond["image_attention_mask"].tolist() == [[[0, 1]] * 2]


def test_a_turns_end_does_not_hide_the_picture(tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(tiny_idefics(tmp_path))
    history = (Turn("What is it?", "a star", (noise(50, 50),)),)
    answers = [
        pipe.ask([], QUESTION, history=(Turn("What is it?", "a star", (noise(50, 50, seed),)),), max_new_tokens=6)
        for seed in (1, 2, 3, 4)
    ]
    assert pipe.tokenizer.eos_token_id in answers[0].prompt.ids
    assert len({tuple(token.id for token in answer.tokens) for answer in answers}) > 1
    assert pipe.ask([], QUESTION, history=history, max_new_tokens=2).trace.image.any()


@pytest.mark.parametrize(
    ("make", "processor"),
    [
        (tiny_blip2, BlipImageProcessorPil(size={"height": 48, "width": 48})),
        (tiny_idefics, IdeficsImageProcessorPil(image_size=48)),
    ],
)
def test_the_families_own_image_processors(tmp_path: Path, noise, make, processor) -> None:
    """Idefics' hands out a bare tensor."""
    processor.save_pretrained(make(tmp_path))
    both = Both(tmp_path)
    picture = noise(90, 60)
    assert type(both.pipe.image_processor) is type(processor)
    made = both.image_processor(picture, return_tensors="pt")
    view = both.pipe.view(picture)
    assert torch.equal(view.pixel_values, made if isinstance(made, torch.Tensor) else made["pixel_values"])
    assert view.boxes[-1].tolist() == [67.5, 45, 90, 60]
    assert both.pipe.ask(picture, QUESTION, max_new_tokens=3).heatmap(0).shape == (60, 90)
