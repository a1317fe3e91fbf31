"""Stored training pictures are the same for the same seed, can be continued, and their annotations are true."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from vlm_demo.contracts import OcrResult
from vlm_demo.stages import ocr
from vlm_demo.training import drawn, drawn_questions
from vlm_demo.training.drawn import ANNOTATIONS, KINDS, draw, draw_kind
from vlm_demo.training.worlds.lettering import draw_lettering
from vlm_demo.training.worlds.scenes import draw_scene
from vlm_demo.training.worlds.world import COLOURS, SHAPES, number_word

pytestmark = pytest.mark.slow
COUNT = 12
FIELDS = {"image", "captions", "qa", "unanswerable", "ocr", "follow", "boxes"}


@pytest.fixture(scope="module", autouse=True)
def without_tesseract():
    """What OCR would read is imitated alone: Tesseract takes seconds, and is not everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "BY_TESSERACT", 0.0)
        yield


@pytest.fixture(scope="module")
def shards(tmp_path_factory, without_tesseract):
    folder = tmp_path_factory.mktemp("shards")
    draw(folder, dict.fromkeys(KINDS, COUNT), seed=4, rounds=2)
    return folder


def lines(folder):
    return [json.loads(line) for line in (folder / ANNOTATIONS).read_text().splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_has_its_picture_and_the_format(shards, kind):
    found = lines(shards / kind)
    assert len(found) == COUNT
    for number, line in enumerate(found):
        assert FIELDS - {"ocr", "boxes"} <= set(line) <= FIELDS
        assert re.fullmatch(rf"img/{number:05}\.(png|jpg)", line["image"])
        with Image.open(shards / kind / line["image"]) as image:
            assert image.mode == "RGB" and max(image.size) <= drawn.LONGEST_SIDE
            assert image.format == ("PNG" if line["image"].endswith("png") else "JPEG")
        (caption,) = line["captions"]
        assert 8 <= len(caption.split()) <= 14 and caption[0].isupper() and caption.endswith(".")
        pairs = [*line["qa"], *line["unanswerable"], *(turn for turns in line["follow"] for turn in turns)]
        assert all(len(pair) == 2 and all(pair) for pair in pairs)
        questions = KINDS[kind].questions
        assert questions / 2 <= len(line["qa"]) + len(line["follow"]) <= questions
        assert all(answer != "unknown" for _, answer in line["qa"])
        assert all(guess != "unknown" for _, guess in line["unanswerable"])


def test_the_same_seed_draws_the_same_and_another_one_does_not(shards, tmp_path):
    for kind in ("scenes", "charts", "text"):
        draw_kind(tmp_path / kind, kind, 5, seed=4)
        draw_kind(tmp_path / "other" / kind, kind, 5, seed=5)
        assert lines(tmp_path / kind) == lines(shards / kind)[:5]
        assert lines(tmp_path / "other" / kind) != lines(shards / kind)[:5]
        for line in lines(tmp_path / kind):
            assert (tmp_path / kind / line["image"]).read_bytes() == (shards / kind / line["image"]).read_bytes()


def test_a_second_call_goes_on_behind_the_last_whole_line(shards, tmp_path):
    folder = tmp_path / "plain"
    assert draw_kind(folder, "plain", 4, seed=4) == 4
    file = folder / ANNOTATIONS
    complete = file.read_text()
    file.write_text(complete + '{"image": "img/00004.png", "capti')
    assert draw_kind(folder, "plain", 7, seed=4) == 3
    assert file.read_text().startswith(complete)
    assert lines(folder) == lines(shards / "plain")[:7]
    assert draw_kind(folder, "plain", 6, seed=4) == 0
    assert len(lines(folder)) == 7


def test_a_line_can_be_read_as_soon_as_its_picture_is_drawn(tmp_path, monkeypatch):
    seen = []
    draw_one = drawn.drawn

    def watched(kind, seed, number):
        seen.append(len(lines(tmp_path)))
        return draw_one(kind, seed, number)

    monkeypatch.setattr(drawn, "drawn", watched)
    draw_kind(tmp_path, "plain", 3, seed=1)
    assert seen == [0, 1, 2]


def test_ocr_lines_are_plain_text(shards):
    for kind, spec in KINDS.items():
        for line in lines(shards / kind):
            assert spec.reads or "ocr" not in line
            for text in line.get("ocr", []):
                assert text == text.strip() and text and "\n" not in text and not re.search(r"<[^>]*>", text)
    assert all("ocr" in line for line in lines(shards / "text"))


def test_tesseract_reads_the_picture_at_its_full_size(monkeypatch):
    sizes = []

    def read(image, cancelled=None):
        sizes.append(image.size)
        return OcrResult("TOTAL 12.50\n\n Tea 3.00 ", (), 0.0)

    monkeypatch.setattr(drawn, "BY_TESSERACT", 1.0)
    monkeypatch.setattr(ocr, "read", read)
    found = [drawn.drawn("documents", 2, number) for number in range(6)]
    assert all(line.get("ocr", ["TOTAL 12.50", "Tea 3.00"]) == ["TOTAL 12.50", "Tea 3.00"] for _, line in found)
    assert max(max(size) for size in sizes) > drawn.LONGEST_SIDE >= max(max(image.size) for image, _ in found)


def test_shapes_lie_inside_and_are_seen_in_their_colours():
    for seed in range(25):
        picture = draw_scene(np.random.default_rng(seed), layout="plain")
        pixels = np.asarray(picture.image).astype(int)
        for thing, rgb in zip(picture.things, picture.facts["rgbs"], strict=True):
            x0, y0, x1, y1 = thing.box
            assert min(x0, y0) >= -0.5 and x1 <= picture.image.width and y1 <= picture.image.height
            inside = pixels[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1].reshape(-1, 3)
            assert (np.abs(inside - rgb).max(1) < 30).mean() > 0.2


def test_counts_and_colours_of_plain_scenes_can_be_derived():
    """Answers computed here from the picture of a number are the same."""
    shapes_by_noun = {shape + ("es" if shape == "cross" else "s"): (shape,) for shape in SHAPES}
    shapes_by_noun |= dict.fromkeys(("shapes", "objects", "things"), SHAPES)
    checked = 0
    for number in range(60):
        rng = np.random.default_rng([4, 31, list(KINDS).index("plain"), number])
        things = draw_scene(rng, layout="plain").things
        image, line = drawn.drawn("plain", 4, number)
        visible = [thing for thing in things if thing.visible > 0.5]
        assert [box[0] for box in line["boxes"]] == [f"{thing.colour} {thing.shape}" for thing in visible]
        for (_, left, top, width, height), thing in zip(line["boxes"], visible, strict=True):
            box = left * image.width, top * image.height, (left + width) * image.width, (top + height) * image.height
            assert np.allclose(box, thing.box, atol=0.1)
        for question, answer in line["qa"]:
            counted = re.fullmatch(r"How many (?:(\w+) )?(\w+) are there\?", question)
            if counted and counted[2] in shapes_by_noun and counted[1] in (None, *COLOURS):
                fitting = [
                    t for t in things if t.shape in shapes_by_noun[counted[2]] and counted[1] in (None, t.colour)
                ]
                assert answer == number_word(len(fitting)), (number, question)
                checked += 1
            colour_question = re.fullmatch(r"What colou?r is the (\w+)\?", question)
            colours = {thing.colour for thing in things if colour_question and thing.shape == colour_question[1]}
            if colours:
                assert colours == {answer}, (number, question)
                checked += 1
    assert checked > 25


def test_a_text_is_answered_with_its_lines():
    right = 0
    for number in range(30):
        rng = np.random.default_rng([4, 31, list(KINDS).index("text"), number])
        printed = draw_lettering(rng).facts["texts"]
        _, line = drawn.drawn("text", 4, number)
        assert 1 <= len(printed) <= 4
        answer = line["qa"][0][1]
        assert all(part in "\n".join(line["ocr"]) for part in answer.split("\n"))
        right += answer == "\n".join(printed)
    assert right > 12


def test_stray_characters_at_the_ends_of_a_line_are_left_out_and_signs_of_money_are_not() -> None:
    lines = {"| Milk 12,50 €": "Milk 12,50 €", "$ 5 ;": "$ 5", "° 20 %": "20 %", "STEFANIE °": "STEFANIE", "~": ""}
    assert {line: drawn_questions._without_strays(line) for line in lines} == lines


def test_yes_and_no_are_about_as_frequent(shards):
    answers = [answer for kind in KINDS for line in lines(shards / kind) for _, answer in line["qa"]]
    yes, no = answers.count("yes"), answers.count("no")
    assert yes + no > 60 and 0.35 < yes / (yes + no) < 0.65


def test_questions_are_in_good_english(shards):
    all_lines = [line for kind in KINDS for line in lines(shards / kind)]
    questions = [question for line in all_lines for question, _ in line["qa"]]
    assert not any(re.search(r"\b[Ww]hat is the (kinds|colou?rs)\b", question) for question in questions)
    follow = [second for line in all_lines for _, (second, _) in line["follow"]]
    assert follow and not any(re.match(r"Hi\.|Please:|Question:", question) for question in follow)
    one_word = [answer for line in all_lines for question, answer in line["qa"] if " one word" in question]
    assert all(" " not in answer for answer in one_word)
