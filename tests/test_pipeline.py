"""The composed pipeline against plain transformers: same prompt, same tokens; and what stopping and closing do."""

import itertools
import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration, LlavaProcessor
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from tests.kit.stopping import stopped_after_the_first
from tests.kit.tiny import tiny_llava
from vlm_demo import Pipeline, Turn
from vlm_demo.contracts import Answer, ImageTokens, OcrResult, StageEvent, TokenEvent
from vlm_demo.errors import BadImage, BadQuestion, Stopped
from vlm_demo.pipeline import staged
from vlm_demo.ui.stage_words import detail

pytestmark = pytest.mark.usefixtures("bf16_as_stored")

QUESTION = "How many circles are there in the picture?"
SIZES = [(120, 120), (90, 160), (200, 70)]

KINDS = {
    "squash": {},
    "crop": {"crop": True},
    "siglip": {"tower": "siglip"},
    "pad": {
        "image_processor": LlavaImageProcessorPil(size={"height": 48, "width": 48}, do_pad=True, do_center_crop=False)
    },
    "cls token": {"vision_feature_select_strategy": "full"},
    "second last layer": {"vision_feature_layer": -2, "crop": True},
    "two layers": {"vision_feature_layer": [-1, -2]},
    "bf16": {"dtype": torch.bfloat16},
}


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The same checkpoint in this project and in plain transformers."""
    folder = tiny_llava(tmp_path_factory.mktemp("kind"), **KINDS[request.param])
    plain = LlavaForConditionalGeneration.from_pretrained(folder, dtype="auto").eval()
    return Pipeline.from_pretrained(folder), plain, LlavaProcessor.from_pretrained(folder)


def messages(question: str, images: int, history: tuple[Turn, ...] = ()) -> list[dict]:
    made = []
    for turn in history:
        pictures = [{"type": "image"}] * len(turn.images)
        made.append({"role": "user", "content": [*pictures, {"type": "text", "text": turn.question}]})
        made.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
    pictures = [{"type": "image"}] * images
    return [*made, {"role": "user", "content": [*pictures, {"type": "text", "text": question}]}]


def generated(both, images: list[Image.Image], question: str, history: tuple[Turn, ...] = (), tokens: int = 12) -> dict:
    _, plain, processor = both
    asked = len(images) - sum(len(turn.images) for turn in history)
    text = processor.apply_chat_template(messages(question, asked, history), add_generation_prompt=True)
    inputs = processor(images=images, text=text, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        out = plain.generate(**inputs, do_sample=False, max_new_tokens=tokens)
        logits = plain(**inputs).logits[0, -1].float()
    new = out[0, inputs["input_ids"].shape[1] :]
    return {
        "prompt": text,
        "ids": tuple(inputs["input_ids"][0].tolist()),
        "tokens": [i for i in new.tolist() if i != plain.generation_config.eos_token_id],
        "text": processor.tokenizer.decode(new, skip_special_tokens=True),
        "logits": logits,
    }


class TestPlainTransformers:
    def test_the_picture_matters(self, both, noise) -> None:
        """Without this, equal tokens would prove nothing."""
        one, two = (generated(both, [noise(100, 100, seed)], QUESTION) for seed in (1, 2))
        assert (one["logits"] - two["logits"]).abs().max() > 0.1
        assert one["tokens"] != two["tokens"]

    @pytest.mark.parametrize("size", SIZES)
    def test_greedy_tokens_are_equal(self, both, noise, size: tuple[int, int]) -> None:
        picture = noise(*size)
        expected = generated(both, [picture], QUESTION)
        answer = both[0].ask(picture, QUESTION, max_new_tokens=12)
        assert answer.prompt.text == expected["prompt"]
        assert answer.prompt.ids == expected["ids"]
        assert [token.id for token in answer.tokens] == expected["tokens"]
        assert answer.text == expected["text"]

    def test_several_pictures(self, both, noise) -> None:
        pictures = [noise(*size, seed=i) for i, size in enumerate(SIZES)]
        expected = generated(both, pictures, QUESTION)
        answer = both[0].ask(pictures, QUESTION, max_new_tokens=12)
        assert answer.prompt.ids == expected["ids"]
        assert [token.id for token in answer.tokens] == expected["tokens"]
        assert len(answer.views) == 3

    def test_earlier_turns(self, both, noise) -> None:
        first, second = noise(90, 90, 3), noise(60, 120, 4)
        history = (Turn("What colour is the star?", "a red star", (first,)), Turn("Is there a square?", "no"))
        expected = generated(both, [first, second], QUESTION, history)
        answer = both[0].ask(second, QUESTION, history=history, max_new_tokens=12)
        assert answer.prompt.text == expected["prompt"]
        assert answer.prompt.ids == expected["ids"]
        assert [token.id for token in answer.tokens] == expected["tokens"]
        assert [view.size for view in answer.views] == [(90, 90), (60, 120)]

    def test_a_question_about_an_earlier_turns_picture(self, both, noise) -> None:
        history = (Turn("What colour is the star?", "a red star", (noise(90, 90, 3),)),)
        expected = generated(both, [noise(90, 90, 3)], QUESTION, history)
        answer = both[0].ask([], QUESTION, history=history, max_new_tokens=12)
        assert [token.id for token in answer.tokens] == expected["tokens"]

    def test_the_tap_changes_nothing(self, both, noise) -> None:
        pipe = both[0]
        opened = pipe.ask(noise(80, 80), QUESTION, max_new_tokens=12)
        pipe.stages().llm.tapping = False
        try:
            closed = pipe.ask(noise(80, 80), QUESTION, max_new_tokens=12)
        finally:
            pipe.stages().llm.tapping = True
        assert closed.tokens == opened.tokens
        assert closed.trace is None and opened.trace is not None


class TestCheckpointSettings:
    def test_the_checkpoints_own_limit(self, checkpoint: Path, noise) -> None:
        pipe = Pipeline.from_pretrained(checkpoint)
        pipe.stages().llm.generation.max_new_tokens = 3
        assert len(pipe.ask(noise(50, 50), QUESTION).tokens) == 3

    def test_a_list_of_end_tokens_ends_the_answer(self, checkpoint: Path, tmp_path: Path, noise) -> None:
        pipe = Pipeline.from_pretrained(checkpoint)
        ids = [token.id for token in pipe.ask(noise(50, 50), QUESTION, max_new_tokens=6).tokens]
        folder = shutil.copytree(checkpoint, tmp_path / "ends")
        config = json.loads((folder / "generation_config.json").read_text()) | {"eos_token_id": [1, ids[3]]}
        (folder / "generation_config.json").write_text(json.dumps(config))
        ended = Pipeline.from_pretrained(folder).ask(noise(50, 50), QUESTION, max_new_tokens=6)
        assert [token.id for token in ended.tokens] == ids[: ids.index(ids[3])]

    def test_repetition_penalty_as_in_transformers(self, both, noise) -> None:
        pipe, plain, _ = both
        for generation in (pipe.stages().llm.generation, plain.generation_config):
            generation.repetition_penalty, generation.no_repeat_ngram_size = 1.7, 2
        try:
            expected = generated(both, [noise(70, 70)], QUESTION)
            answer = pipe.ask(noise(70, 70), QUESTION, max_new_tokens=12)
        finally:
            for generation in (pipe.stages().llm.generation, plain.generation_config):
                generation.repetition_penalty, generation.no_repeat_ngram_size = 1.0, 0
        assert [token.id for token in answer.tokens] == expected["tokens"]

    def test_the_context_is_never_exceeded(self, tmp_path: Path, noise) -> None:
        pipe = Pipeline.from_pretrained(tiny_llava(tmp_path, context=40))
        pipe.stages().llm.ends = frozenset()
        answer = pipe.ask(noise(50, 50), "What?", max_new_tokens=1000)
        assert len(answer.prompt.ids) + len(answer.tokens) == 41
        with pytest.raises(BadQuestion, match="40"):
            pipe.ask(noise(50, 50), "What? " * 30)
        with pytest.raises(BadQuestion, match="use fewer pictures"):
            pipe.ask([noise(50, 50)] * 3, "What?")

    def test_stored_precision_is_kept(self, both) -> None:
        pipe, plain, _ = both
        assert pipe.model.dtype == plain.dtype
        assert pipe.precision == {torch.float32: "fp32", torch.bfloat16: "bf16"}[plain.dtype]


class TestEvents:
    def test_order_and_content(self, pipe: Pipeline, noise) -> None:
        events = list(pipe.stream(noise(150, 100), QUESTION, max_new_tokens=5))
        names = [event.name if isinstance(event, StageEvent) else type(event).__name__ for event in events]
        tokens = names.count("TokenEvent")
        stages = ["view", "prompt", "encoder", "bridge", "prefill"]
        assert names == [*stages, *["TokenEvent"] * tokens, "decode", "Answer"]
        details = {event.name: detail(event) for event in events if isinstance(event, StageEvent)}
        assert details["view"] == "150×100 → 48×48"
        assert details["encoder"] == "48×48 → 16×64"
        answer = events[-1]
        assert "".join(token.text for token in answer.tokens) == answer.text
        assert answer.prompt.image_tokens == 16
        assert answer.model == pipe.name
        assert not answer.stopped

    def test_times_add_up(self, pipe: Pipeline, noise) -> None:
        times = pipe.ask(noise(150, 100), QUESTION, max_new_tokens=5).timings
        parts = times.view + times.ocr + times.prompt + times.encoder + times.bridge + times.prefill
        assert 0 < parts <= times.first_token + 1e-3
        assert times.first_token + times.decode <= times.total + 1e-3

    def test_whoever_looks_long_at_each_event_lengthens_no_time(
        self, pipe: Pipeline, noise, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late, clock = 0, time.perf_counter
        monkeypatch.setattr(time, "perf_counter", lambda: clock() + late)
        monkeypatch.setattr("vlm_demo.stages.ocr.read", lambda *_: OcrResult("12.50", (), 0.0))
        for event in pipe.stream(noise(60, 60), QUESTION, ocr=True, max_new_tokens=4):
            if isinstance(event, StageEvent):
                assert event.seconds < 1000, event.name
            late += 10_000
        times = vars(event.timings)
        assert times["ocr"] > 0
        assert all(0 < seconds < 1000 for seconds in times.values()), times

    def test_refusals(self, pipe: Pipeline, noise) -> None:
        with pytest.raises(BadQuestion, match="empty"):
            pipe.ask(noise(9, 9), "  \n")
        with pytest.raises(BadImage, match="no picture"):
            pipe.ask([], QUESTION)
        with pytest.raises(BadImage):
            pipe.ask(b"nothing of the kind", QUESTION)


class StopAtCheck:
    """A stop button that is pressed at the n-th check."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def __call__(self) -> bool:
        self.count += 1
        return self.count >= self.at


class TestStopping:
    @pytest.mark.parametrize("part", ["encoder_layers", "language_layers"])
    def test_between_two_layers(self, pipe: Pipeline, noise, part: str) -> None:
        assert stopped_after_the_first(pipe, getattr(pipe.stages().llm.family, part), noise(50, 50))

    def test_within_one_token_and_what_was_written_is_kept(self, pipe: Pipeline, noise) -> None:
        whole = pipe.ask(noise(50, 50), QUESTION, max_new_tokens=8)
        stop, events = threading.Event(), []
        for event in pipe.stream(noise(50, 50), QUESTION, max_new_tokens=8, cancelled=stop.is_set):
            events.append(event)
            if sum(isinstance(e, TokenEvent) for e in events) == 3:
                stop.set()
        answer = events[-1]
        assert answer.stopped
        assert answer.tokens == whole.tokens[:3]
        assert answer.heatmap(0).max() <= 1

    def test_every_moment_ends_in_stopped_or_a_stopped_answer(self, pipe: Pipeline, noise) -> None:
        moment, outcomes = 1, set()
        while True:
            button = StopAtCheck(moment)
            try:
                *_, last = pipe.stream(noise(50, 50), QUESTION, max_new_tokens=2, cancelled=button)
                if not last.stopped:
                    break
                outcomes.add("answer")
            except Stopped:
                outcomes.add("stopped")
            moment += 1
        assert outcomes == {"stopped", "answer"}
        assert pipe.ask(noise(50, 50), QUESTION, max_new_tokens=2).tokens

    def test_closing_leaves_nothing_behind(self, pipe: Pipeline, noise) -> None:
        for events in range(1, 8):
            stream = pipe.stream(noise(50, 50), QUESTION, max_new_tokens=8)
            for _ in range(events):
                next(stream)
            stream.close()
            assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
            with pytest.raises(StopIteration):
                next(stream)
        assert isinstance(pipe.ask(noise(50, 50), QUESTION, max_new_tokens=2), Answer)

    def test_the_gradient_mode_does_not_leak_while_iterating(self, pipe: Pipeline, noise) -> None:
        for _ in pipe.stream(noise(50, 50), QUESTION, max_new_tokens=3):
            assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()

    def test_one_computation_at_a_time_and_waiting_can_be_stopped(self, pipe: Pipeline, noise) -> None:
        entered, leave, stop, outcome = threading.Event(), threading.Event(), threading.Event(), []
        checks, waits = itertools.count(), threading.Event()
        pipe.forget()

        def cancelled() -> bool:
            if next(checks) > 5:  # more often than the stages before it ask: it looks again and again while it waits
                waits.set()
            return stop.is_set()

        def hold(*_: object) -> None:
            if threading.current_thread().name == "first":
                entered.set()
                leave.wait(60)

        hook = pipe.stages().llm.family.encoder_layers[0].register_forward_pre_hook(hold)
        first = threading.Thread(target=lambda: pipe.ask(noise(50, 50), QUESTION, max_new_tokens=1), name="first")

        def second() -> None:
            try:
                list(pipe.stream(noise(50, 50), QUESTION, cancelled=cancelled))
            except Stopped:
                outcome.append("stopped")

        waiting = threading.Thread(target=second)
        try:
            first.start()
            assert entered.wait(60)
            waiting.start()
            assert waits.wait(60) and waiting.is_alive() and not outcome
            stop.set()
            waiting.join(60)
            assert outcome == ["stopped"]
        finally:
            leave.set()
            first.join(60)
            hook.remove()

    def test_two_streams_do_not_disturb_each_other(self, pipe: Pipeline, noise) -> None:
        alone = [pipe.ask(noise(50, 50, seed), QUESTION, max_new_tokens=6) for seed in (1, 2)]
        streams = [pipe.stream(noise(50, 50, s), QUESTION, max_new_tokens=6) for s in (1, 2)]
        answers = {}
        while len(answers) < 2:
            for i, stream in enumerate(streams):
                event = next(stream, None)
                if isinstance(event, Answer):
                    answers[i] = event
        for i in range(2):
            assert answers[i].tokens == alone[i].tokens
            assert (answers[i].trace.image == alone[i].trace.image).all()


class TestStagesAlone:
    def test_exchanging_two_pictures_image_tokens_exchanges_the_answers(self, pipe: Pipeline, noise) -> None:
        answers = [pipe.ask(noise(60, 60, seed), QUESTION, max_new_tokens=8) for seed in (1, 2)]
        assert answers[0].tokens != answers[1].tokens
        tokens = pipe.stages().bridge(pipe.stages().encoder([pipe.view.with_pixels(answer.view) for answer in answers]))
        size = tokens.counts[0]
        for i in range(2):
            other = ImageTokens(tokens.embeddings[(1 - i) * size : (2 - i) * size], (size,))
            steps = list(pipe.stages().llm(answers[i].prompt, other, max_new_tokens=8))
            assert [step.id for step in steps] == [token.id for token in answers[1 - i].tokens]

    def test_threads_share_a_pipeline(self, pipe: Pipeline, noise) -> None:
        """Control strings switch the tokenizer's state; no thread may meet it half switched."""
        questions = [QUESTION, "What does </s> <image> mean?", "<|user|> say yes"]
        alone = [pipe.ask(noise(50, 50), question, max_new_tokens=4) for question in questions]
        with ThreadPoolExecutor(6) as pool:
            jobs = [
                (i % 3, pool.submit(pipe.ask, noise(50, 50), questions[i % 3], max_new_tokens=4)) for i in range(24)
            ]
        for i, job in jobs:
            assert job.result().tokens == alone[i].tokens
            assert job.result().prompt == alone[i].prompt

    def test_the_encoder_takes_pixels_or_views(self, pipe: Pipeline, noise) -> None:
        view = pipe.view(noise(60, 60))
        by_view, by_pixels = pipe.stages().encoder(view), pipe.stages().encoder(view.pixel_values)
        assert by_view.features.shape == (1, 16, 64)
        assert torch.equal(by_view.features, by_pixels.features)


class TestExplain:
    def test_reading_an_answer_back_gives_the_decoding_steps(self, pipe: Pipeline, noise) -> None:
        """Teacher forcing on what was generated sees the same rows and probabilities, in one pass."""
        answer = pipe.ask(noise(90, 60), QUESTION, max_new_tokens=10)
        ids = [token.id for token in answer.tokens]
        view = pipe.view.with_pixels(answer.view)
        steps = pipe.stages().llm.read(answer.prompt, pipe.stages().bridge(pipe.stages().encoder(view)), ids)
        assert [step.id for step in steps] == ids
        for i, step in enumerate(steps):
            assert step.probability == pytest.approx(answer.tokens[i].probability, abs=1e-4)
            assert (step.rows.image[0] - torch.tensor(answer.trace.image[i]).float()).abs().max() < 1e-3

    def test_a_given_answer(self, pipe: Pipeline, noise) -> None:
        answer = pipe.explain(noise(90, 60), QUESTION, "a red circle")
        assert answer.text == "a red circle"
        assert [word.text for word in answer.words] == ["a", "red", "circle"]
        assert answer.heatmap("red circle").shape == (60, 90)
        assert answer.prompt == pipe.ask(noise(90, 60), QUESTION, max_new_tokens=1).prompt

    def test_control_strings_in_it_are_text(self, pipe: Pipeline, noise) -> None:
        answer = pipe.explain(noise(90, 60), QUESTION, "a </s> <image> sign")
        assert answer.text == "a </s> <image> sign"
        assert pipe.model.config.image_token_id not in [token.id for token in answer.tokens]

    def test_an_empty_answer_is_refused(self, pipe: Pipeline, noise) -> None:
        with pytest.raises(BadQuestion, match="answer to explain is empty"):
            pipe.explain(noise(90, 60), QUESTION, " ")

    def test_a_given_answer_of_a_book(self, pipe: Pipeline, noise, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(staged, "MOST_GIVEN", 4)
        with pytest.raises(BadQuestion, match="of at most 4: shorten it"):
            pipe.explain(noise(90, 60), QUESTION, "a red circle " * 3)


def test_nothing_of_the_person_is_logged(pipe: Pipeline, noise, caplog: pytest.LogCaptureFixture, capfd) -> None:
    caplog.set_level(0)
    pipe.ask(noise(50, 50), "Is my secret on it?", max_new_tokens=2)
    with pytest.raises(BadImage):
        pipe.ask("/private/secret.png", "Is my secret on it?")
    assert "secret" not in caplog.text
    assert capfd.readouterr() == ("", "")
