"""The model that the project ships: it answers, its toggles do what they say, and plain transformers agrees."""

import re
import shutil
from itertools import islice

import numpy as np
import pytest
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageDraw
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration

from vlm_demo import Pipeline
from vlm_demo.evaluation.answers import matches
from vlm_demo.evaluation.pointing import hit
from vlm_demo.models.loading import checkpoint
from vlm_demo.stages.prompt import EVIDENCE_RULE
from vlm_demo.synthetic.fonts import font
from vlm_demo.synthetic.phrasings import phrasings
from vlm_demo.synthetic.scenes import draw_scene
from vlm_demo.synthetic.world import SHAPES, Picture

HELD_OUT = 4000  # seeds from here on are used by no training and no figure


@pytest.fixture(scope="module")
def llava() -> Pipeline:
    return Pipeline.from_pretrained("llava")


def disc(colour: str, size: tuple[int, int] = (500, 240)) -> Image.Image:
    """A circle of one colour left of the middle, drawn by nobody's generator."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((120, 60, 220, 160), fill=colour)
    return image


def scenes(n: int) -> list[Picture]:
    """Scenes with at least one thing, none of them in a box."""
    drawn = (draw_scene(np.random.default_rng(HELD_OUT + seed)) for seed in range(40 * n))
    return list(islice((picture for picture in drawn if picture.things and not picture.facts["boxes"]), n))


def slip(seed: int) -> tuple[Image.Image, str]:
    """A plain till slip and its total."""
    rng = np.random.default_rng(HELD_OUT + seed)
    prices = [f"{price:.2f}" for price in rng.uniform(1, 30, 3)]
    total = f"{sum(map(float, prices)):.2f}"
    rows = [(name, price) for name, price in zip(("Milk", "Bread", "Tea"), prices, strict=True)]
    image = Image.new("L", (460, 330), 245)
    draw, face = ImageDraw.Draw(image), font("mono", 20)
    draw.text((230, 30), "GREEN MARKET", fill=20, font=font("mono-bold", 24), anchor="ma")
    draw.text((25, 80), f"Date: {int(rng.integers(10, 29))}/03/2019", fill=20, font=face)
    for i, (name, price) in enumerate([*rows, ("TOTAL", total)]):
        draw.text((25, 125 + 40 * i), name, fill=20, font=face)
        draw.text((435, 125 + 40 * i), price, fill=20, font=face, anchor="ra")
    return image.convert("RGB"), total


def test_plain_transformers_gives_the_same_answer(llava: Pipeline) -> None:
    model = AutoModelForImageTextToText.from_pretrained(llava.folder, dtype=llava.model.dtype)
    processor = AutoProcessor.from_pretrained(llava.folder)
    for seed, question in enumerate(["Describe the picture.", "How many shapes are there?", "Where is the circle?"]):
        picture = draw_scene(np.random.default_rng(HELD_OUT + seed)).image
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(images=picture, text=text, return_tensors="pt", add_special_tokens=False)
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        ids = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
        answer = llava.ask(picture, question)
        assert answer.text == processor.tokenizer.decode(ids, skip_special_tokens=True)
        assert answer.prompt.text == text


@pytest.mark.parametrize("colour", ["red", "green", "blue", "yellow"])
def test_it_answers_about_a_picture_that_its_generator_did_not_draw(llava: Pipeline, colour: str) -> None:
    picture = disc(colour)
    assert matches("exact", llava.ask(picture, "What color is the circle?").text, (colour,))
    assert llava.ask(picture, f"Is there a {colour} circle?").text == "yes"


def test_exchanging_image_tokens_exchanges_the_answers(llava: Pipeline) -> None:
    question = "What color is the circle?"
    one, two = (llava.ask(disc(colour), question) for colour in ("red", "blue"))
    tokens = [llava.bridge(llava.encoder(answer.view)) for answer in (one, two)]

    def written(prompt, image_tokens) -> str:
        return llava.tokenizer.decode([step.id for step in llava.llm(prompt, image_tokens)], skip_special_tokens=True)

    assert one.text != two.text
    assert written(one.prompt, tokens[1]) == two.text
    assert written(two.prompt, tokens[0]) == one.text


def test_ocr_changes_what_a_receipt_question_gets(llava: Pipeline) -> None:
    right = {True: 0, False: 0}
    for seed in range(8):
        picture, total = slip(seed)
        plain, read = (llava.ask(picture, "What is the total?", ocr=ocr) for ocr in (False, True))
        assert plain.ocr is None and read.ocr is not None
        unmarked, marks = re.subn(r"<\|at\d+\|>", " ", read.prompt.text)
        lines = "\n".join(line.strip() for line in unmarked.split("\n"))
        assert marks and read.ocr.text in lines and read.ocr.words
        assert torch.equal(plain.view.pixel_values, read.view.pixel_values)
        for answer in (plain, read):
            right[answer is read] += matches("money", answer.text, (total,))
    assert right[True] >= 6 and right[False] <= 1


def test_evidence_only_raises_abstention_and_changes_nothing_but_the_prompt(llava: Pipeline) -> None:
    unknown = {True: 0, False: 0}
    asked = 0
    for picture in scenes(30):
        absent = [shape for shape in SHAPES if all(thing.shape != shape for thing in picture.things)]
        asked += 1
        question = f"What color is the {absent[0]}?"
        answers = {rule: llava.ask(picture.image, question, evidence_only=rule) for rule in unknown}
        for rule, answer in answers.items():
            unknown[rule] += answer.text == "unknown"
        assert answers[True].prompt.text == answers[False].prompt.text.replace(question, f"{question}\n{EVIDENCE_RULE}")
        assert torch.equal(answers[True].view.pixel_values, answers[False].view.pixel_values)
    assert unknown[True] >= 0.75 * asked and unknown[False] <= 0.1 * asked


@pytest.mark.parametrize("quantize", ["8bit", "4bit"])
def test_quantized_layers_are_bitsandbytes_and_smaller(llava: Pipeline, quantize: str) -> None:
    small = Pipeline.from_pretrained("llava", quantize=quantize)
    kinds = {"8bit": "Linear8bitLt", "4bit": "Linear4bit"}
    core = small.model.model

    def layers(part) -> set[str]:
        return {type(module).__name__ for module in part.modules() if isinstance(module, torch.nn.Linear)}

    assert layers(core.language_model) == {kinds[quantize]}
    assert layers(core.vision_tower) == layers(core.multi_modal_projector) == {"Linear"}
    assert small.memory().parameter_bytes < llava.memory().parameter_bytes
    assert small.ask(disc("red"), "What color is the circle?").text == "red"


@pytest.mark.parametrize("asked", [True, False])
def test_the_hottest_point_lies_on_what_the_word_names(llava: Pipeline, asked: bool) -> None:
    hits = []
    for colour in ("red", "green", "blue", "yellow", "purple", "orange"):
        if asked:
            answer, phrase = llava.ask(disc(colour), "What color is the circle?"), colour
        else:
            phrase = f"{colour} circle"
            answer = llava.explain(disc(colour), "What is in the image?", phrase)
        heatmap = answer.heatmap(phrase)
        assert heatmap.shape == (240, 500) and heatmap.max() == 1
        hits.append(hit(heatmap, [(120, 60, 220, 160)]))
    assert np.mean(hits) >= 0.8


def test_a_photograph_is_outside_its_world_and_drawn_pictures_are_inside(llava: Pipeline) -> None:
    with get_sample_data("grace_hopper.jpg") as file:
        photograph = llava.view(Image.open(file).convert("RGB"))
    assert llava.in_world(photograph) < 0.5
    drawn = [disc("red"), *(slip(seed)[0] for seed in range(4)), *(picture.image for picture in scenes(8))]
    assert sum(llava.in_world(llava.view(picture)) >= 0.5 for picture in drawn) >= len(drawn) - 1


def test_it_sees_the_whole_picture(llava: Pipeline) -> None:
    view = llava.view(disc("red"))
    boxes = np.array(view.boxes)
    assert (boxes[:, :2].min(0) <= 0).all() and (boxes[:, 2:].max(0) >= (500, 240)).all()
    assert not any("does not see" in note for note in view.notes)


@pytest.mark.parametrize("word", ["color", "colour"])
def test_both_spellings_are_understood(llava: Pipeline, word: str) -> None:
    for colour in ("red", "green", "blue", "yellow"):
        assert llava.ask(disc(colour), f"What {word} is the circle?").text == colour


@pytest.mark.parametrize("evidence_only", [False, True])
def test_is_there_is_answered_yes_or_no_in_words_it_was_not_trained_on(llava: Pipeline, evidence_only: bool) -> None:
    for seed in range(12):
        picture = draw_scene(np.random.default_rng(HELD_OUT + 100 + seed)).image
        for thing in ("star", "red circle", "blue shape"):
            for phrasing in phrasings("exist", held_out=True):
                question = phrasing.format(obj=thing, image="picture")
                assert llava.ask(picture, question, evidence_only=evidence_only).text in ("yes", "no"), question


def test_heatmap_rows_are_eager_attentions(tmp_path) -> None:
    folder = shutil.copytree(checkpoint("llava"), tmp_path / "llava")
    LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).save_pretrained(folder)
    pipe = Pipeline.from_pretrained(folder)
    attention = {"text_config": "eager", "vision_config": "sdpa"}
    eager = LlavaForConditionalGeneration.from_pretrained(folder, dtype="auto", attn_implementation=attention).eval()
    view = pipe.view(draw_scene(np.random.default_rng(HELD_OUT)).image)
    prompt = pipe.prompt("Describe the picture.", [len(view.boxes)])
    ids, columns = list(prompt.ids), list(prompt.image_positions)
    for step in pipe.llm(prompt, pipe.bridge(pipe.encoder(view))):
        with torch.no_grad():
            full = eager(input_ids=torch.tensor([ids]), pixel_values=view.pixel_values, output_attentions=True)
        weights = torch.stack([layer[0, :, -1] for layer in full.attentions])
        assert (step.rows.image[0] - weights[:, :, columns]).abs().max() < 1e-4
        ids.append(step.id)
    assert len(ids) >= len(prompt.ids) + 3
