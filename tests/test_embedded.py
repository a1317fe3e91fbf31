"""The model that the project ships: it answers, its toggles do what they say, and plain transformers agrees."""

import json
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration

from tests.kit.pictures import disc
from vlm_demo import Pipeline
from vlm_demo.evaluation.answers import matches
from vlm_demo.evaluation.pointing import hit
from vlm_demo.models.loading import checkpoint
from vlm_demo.stages.prompt import EVIDENCE_RULE
from vlm_demo.training.worlds.scenes import draw_scene

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
HELD_OUT = 4000  # seeds from here on are used by no training and no figure
TRUE_OF_EXAMPLES = {
    "Describe the picture.": "A plate with a cup of coffee on it.",
    "How many magenta shapes are there?": "2",
    "What color is the dog?": "unknown",
    "What is the title of the chart?": "Revenue",
    "What is the total?": "149.35",
}


@pytest.fixture(scope="module")
def llava() -> Pipeline:
    return Pipeline.from_pretrained("llava")


def slip(seed: int) -> tuple[Image.Image, str]:
    """A plain till slip and its total."""
    rng = np.random.default_rng(HELD_OUT + seed)
    prices = [f"{price:.2f}" for price in rng.uniform(1, 30, 3)]
    total = f"{sum(map(float, prices)):.2f}"
    rows = [(name, price) for name, price in zip(("Milk", "Bread", "Tea"), prices, strict=True)]
    image = Image.new("L", (460, 330), 245)
    draw, face = ImageDraw.Draw(image), ImageFont.truetype(FONTS / "DejaVuSansMono.ttf", 20)
    draw.text(
        (230, 30), "GREEN MARKET", fill=20, font=ImageFont.truetype(FONTS / "DejaVuSansMono-Bold.ttf", 24), anchor="ma"
    )
    draw.text((25, 80), f"Date: {int(rng.integers(10, 29))}/03/2019", fill=20, font=face)
    for i, (name, price) in enumerate([*rows, ("TOTAL", total)]):
        draw.text((25, 125 + 40 * i), name, fill=20, font=face)
        draw.text((435, 125 + 40 * i), price, fill=20, font=face, anchor="ra")
    return image.convert("RGB"), total


@pytest.fixture(scope="module")
def exact(tmp_path_factory) -> Pipeline:
    """The same weights computed in float32: in bf16 two words that are as likely may change places."""
    folder = shutil.copytree(checkpoint("llava"), tmp_path_factory.mktemp("exact") / "llava")
    LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).save_pretrained(folder)
    return Pipeline.from_pretrained(folder)


def test_plain_transformers_gives_the_same_answer(exact: Pipeline) -> None:
    model = AutoModelForImageTextToText.from_pretrained(exact.folder, dtype="auto")
    processor = AutoProcessor.from_pretrained(exact.folder)
    for seed, question in enumerate(["Describe the picture.", "How many shapes are there?", "Where is the circle?"]):
        picture = draw_scene(np.random.default_rng(HELD_OUT + seed)).image
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(images=picture, text=text, return_tensors="pt", add_special_tokens=False)
        ids = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
        answer = exact.ask(picture, question)
        assert answer.text == processor.tokenizer.decode(ids, skip_special_tokens=True)
        assert answer.prompt.text == text


def test_every_example_of_the_page_is_answered_right(llava: Pipeline) -> None:
    examples = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    answers = {
        one["question"]: llava.ask(
            EXAMPLES / one["image"], one["question"], ocr=one["ocr"], evidence_only=one["evidence_only"]
        ).text
        for one in examples
    }
    assert answers == TRUE_OF_EXAMPLES


def test_it_names_what_a_photograph_shows(llava: Pipeline) -> None:
    assert llava.ask(EXAMPLES / "cat.jpg", "What animal is this?").text == "cat"


def test_exchanging_image_tokens_exchanges_the_answers(llava: Pipeline) -> None:
    question = "What color is the circle?"
    one, two = (llava.ask(disc(colour), question) for colour in ("red", "blue"))
    tokens = [
        llava.stages().bridge(llava.stages().encoder(llava.view.with_pixels(answer.view))) for answer in (one, two)
    ]

    def written(prompt, image_tokens) -> str:
        return llava.tokenizer.decode(
            [step.id for step in llava.stages().llm(prompt, image_tokens)], skip_special_tokens=True
        )

    assert one.text != two.text
    assert written(one.prompt, tokens[1]) == two.text
    assert written(two.prompt, tokens[0]) == one.text


def test_a_photograph_is_described_in_a_sentence_about_it(llava: Pipeline) -> None:
    answer = llava.ask(EXAMPLES / "cat.jpg", "Describe the picture.").text
    assert "cat" in answer.lower() and len(answer.split()) >= 4 and answer.endswith(".") and "\n" not in answer


def test_ocr_changes_what_a_receipt_question_gets(llava: Pipeline) -> None:
    right = {True: 0, False: 0}
    for seed in range(6):
        picture, total = slip(seed)
        plain, read = (llava.ask(picture, "What is the total?", ocr=ocr) for ocr in (False, True))
        assert plain.ocr is None and read.ocr is not None and read.ocr.words
        assert f"Text in the picture:\n{read.ocr.text}\n\nWhat is the total?" in read.prompt.text
        assert np.array_equal(plain.view.processed, read.view.processed)
        for answer in (plain, read):
            right[answer is read] += matches("money", answer.text, (total,))
    assert right[True] >= 4 and right[False] <= 1


def test_evidence_only_raises_abstention_and_changes_nothing_but_the_prompt(llava: Pipeline) -> None:
    unknown = {True: 0, False: 0}
    absent = ("elephant", "train", "bus", "airplane", "pizza", "umbrella", "horse", "boat")
    for thing in absent:
        question = f"What color is the {thing}?"
        answers = {rule: llava.ask(EXAMPLES / "cat.jpg", question, evidence_only=rule) for rule in unknown}
        for rule, answer in answers.items():
            unknown[rule] += answer.text == "unknown"
        assert answers[True].prompt.text == answers[False].prompt.text.replace(question, f"{question}\n{EVIDENCE_RULE}")
        assert np.array_equal(answers[True].view.processed, answers[False].view.processed)
    assert unknown[True] >= 6 and unknown[False] <= 2


def test_what_is_no_question_about_the_picture_ends_in_a_sentence(llava: Pipeline) -> None:
    for question in ("Hello!", "asdf asdf", "¿Qué hay en la imagen?", "Tell me a joke.", "What is 3 + 4?"):
        answer = llava.ask(EXAMPLES / "cat.jpg", question)
        assert not answer.cut and 1 <= len(answer.text.split()) <= 30, answer.text


def cells(seed: int) -> Image.Image:
    """Round bodies with dark nuclei under a microscope."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (600, 600), 40)
    draw = ImageDraw.Draw(image)
    for x, y, radius, grey in rng.integers((0, 0, 12, 90), (600, 600, 30, 230), (160, 4)):
        for part, fill in ((1.0, int(grey)), (0.4, 20)):
            half = float(radius) * part
            draw.ellipse((x - half, y - 0.8 * half, x + half, y + 0.8 * half), fill=fill)
    return image.filter(ImageFilter.GaussianBlur(2)).convert("RGB")


def ripples(seed: int) -> Image.Image:
    """Crossed waves, as in an interference pattern."""
    across, down = np.random.default_rng(seed).uniform(3, 6, 2)
    waves = np.sin(np.arange(600) / across)[None] * np.cos(np.arange(600) / down)[:, None]
    return Image.fromarray((127 + 100 * waves).astype(np.uint8)).convert("RGB")


def test_photographs_and_documents_are_like_its_training_pictures_and_microscopy_is_not(llava: Pipeline) -> None:
    inside = [*EXAMPLES.glob("*.jpg"), *EXAMPLES.glob("*.png"), slip(1)[0], disc("red")]
    assert len(inside) >= 7 and all(llava.in_distribution(llava.view(picture)) > 0.5 for picture in inside)
    outside = [draw(seed) for draw in (cells, ripples) for seed in range(2)]
    assert all(llava.in_distribution(llava.view(picture)) < 0.5 for picture in outside)


@pytest.mark.parametrize("quantize", ["8bit", "4bit"])
def test_quantized_layers_are_bitsandbytes_and_smaller(llava: Pipeline, quantize: str) -> None:
    small = Pipeline.from_pretrained("llava", quantize=quantize)
    kinds = {"8bit": "Linear8bitLt", "4bit": "Linear4bit"}
    core = small.model.model

    def layers(part) -> set[str]:
        return {type(module).__name__ for module in part.modules() if isinstance(module, torch.nn.Linear)}

    assert layers(core.language_model) == {kinds[quantize]}
    assert layers(core.multi_modal_projector) == {"Linear"} and not layers(core.vision_tower)  # convolutions
    assert small.memory().parameter_bytes < llava.memory().parameter_bytes
    assert small.ask(EXAMPLES / "cat.jpg", "What animal is this?").text == "cat"


def test_the_hottest_point_lies_on_what_the_word_names(llava: Pipeline) -> None:
    hits = []
    for colour in ("red", "green", "blue", "yellow", "purple", "orange"):
        heatmap = llava.explain(disc(colour), "What is in the image?", f"{colour} circle").heatmap(f"{colour} circle")
        assert heatmap.shape == (240, 500) and heatmap.max() == 1
        hits.append(hit(heatmap, [(120, 60, 220, 160)]))
    assert np.mean(hits) >= 0.8


def test_it_sees_the_whole_picture(llava: Pipeline) -> None:
    view = llava.view(disc("red"))
    boxes = np.array(view.boxes)
    assert (boxes[:, :2].min(0) <= 0).all() and (boxes[:, 2:].max(0) >= (500, 240)).all()
    assert not any("does not see" in note for note in view.notes)


@pytest.mark.parametrize("evidence_only", [False, True])
def test_is_there_is_answered_yes_or_no(llava: Pipeline, evidence_only: bool) -> None:
    for thing in ("a cat", "a dog", "an elephant", "a red circle", "a person"):
        for phrasing in ("Is there {} in the picture?", "Can you see {}?", "Does this show {}?"):
            answer = llava.ask(EXAMPLES / "cat.jpg", phrasing.format(thing), evidence_only=evidence_only).text
            assert answer in ("yes", "no"), answer


def test_heatmap_rows_are_eager_attentions(exact: Pipeline) -> None:
    pipe, folder = exact, exact.folder
    attention = {"text_config": "eager", "vision_config": "sdpa"}
    eager = LlavaForConditionalGeneration.from_pretrained(folder, dtype="auto", attn_implementation=attention).eval()
    view = pipe.view(draw_scene(np.random.default_rng(HELD_OUT)).image)
    prompt = pipe.stages().prompt("Describe the picture.", [len(view.boxes)])
    ids, columns = list(prompt.ids), list(prompt.image_positions)
    for step in pipe.stages().llm(prompt, pipe.stages().bridge(pipe.stages().encoder(view)), 4):
        with torch.no_grad():
            full = eager(input_ids=torch.tensor([ids]), pixel_values=view.pixel_values, output_attentions=True)
        weights = torch.stack([layer[0, :, -1] for layer in full.attentions])
        assert (step.rows.image[0] - weights[:, :, columns]).abs().max() < 1e-4
        ids.append(step.id)
    assert len(ids) >= len(prompt.ids) + 3
