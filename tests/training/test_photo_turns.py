"""Photo turns: what is asked of a photograph is true of it, and yes is the answer as often as no."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from vlm_demo.training.photo_turns import (
    PhotoTurns,
    TrainingTurn,
    plural,
    sentence,
    usual_captions,
    with_article,
)
from vlm_demo.training.photo_words import COCO_THINGS, PRESENCE

FOLDER = "coco_val2017_people"
BOXED = {
    "boxes": [
        ["person", 0.05, 0.1, 0.2, 0.6],
        ["dog", 0.6, 0.5, 0.2, 0.3],
        ["dog", 0.8, 0.5, 0.15, 0.3],
        ["kite", 0.4, 0.02, 0.1, 0.1],
        ["umbrella", 0.3, 0.6, 0.15, 0.15],
    ]
}
CAPTIONED = {
    "captions": [
        "Two dogs run on the grass.",
        "A couple watch their dogs in a park.",
        "Dogs playing with a red ball.",
        "Two brown dogs with a ball.",
    ]
}


def made(item: dict[str, Any], folder: str = FOLDER, rounds: int = 150) -> Iterator[TrainingTurn]:
    turns = PhotoTurns([item, {"boxes": [["dog", 0, 0, 0.5, 0.5], ["frisbee", 0, 0, 0.1, 0.1]]}])
    for seed in range(rounds):
        yield from turns(item, folder, np.random.default_rng(seed))


def presence(turns: Iterator[TrainingTurn], things: list[str]) -> dict[str, Counter[str]]:
    """Answer → how often which thing was asked for."""
    thing_by_question = {template.format(a=with_article(thing)): thing for template in PRESENCE for thing in things}
    found: dict[str, Counter[str]] = {"yes": Counter(), "no": Counter()}
    for turn in turns:
        if turn.kind.startswith("presence"):
            assert turn.kind == f"presence-{turn.answer}"
            found[turn.answer][thing_by_question[turn.question]] += 1
    return found


def test_yes_and_no_are_wanted_equally_often_and_both_are_true() -> None:
    found = presence(made(BOXED), COCO_THINGS)
    present = {box[0] for box in BOXED["boxes"]}
    assert found["yes"].total() == found["no"].total() == 2 * 150
    assert set(found["yes"]) == present and not set(found["no"]) & present
    # What often occurs with a dog is asked for more often than one of 76 things would be by chance.
    assert found["no"]["frisbee"] > 0.3 * found["no"].total()


def test_what_a_caption_names_or_implies_is_never_said_to_be_missing() -> None:
    nouns = "dog,ball,grass,man,woman,boy,girl,cat,tree,car,guitar,boat".split(",")
    turns = [turn for turn in made(CAPTIONED, "flickr8k", 400) if turn.kind.startswith("presence")]
    missing = " ".join(turn.question for turn in turns if turn.answer == "no")
    present = " ".join(turn.question for turn in turns if turn.answer == "yes")
    absent = {noun for noun in nouns if re.search(rf"\b{noun}\b", missing)}
    assert absent >= {"cat", "guitar", "boat"}
    assert not absent & {"dog", "ball", "grass", "man", "woman", "tree"}  # a couple; a park
    assert {noun for noun in nouns if re.search(rf"\b{noun}\b", present)} == {"dog", "ball", "grass"}


def test_few_captions_say_nothing_of_what_is_missing() -> None:
    few = {"captions": CAPTIONED["captions"][:3]}
    assert not any(turn.kind.startswith("presence") for turn in made(few, "flickr8k", 50))


@pytest.mark.parametrize("thing", ["dog", "umbrella", "person"])
def test_absent_things_are_neither_boxed_nor_named(thing: str) -> None:
    item = {"boxes": [["cat", 0, 0, 0.5, 0.5]], "captions": [f"The {plural(thing)} near a cat."] * 2}
    turns = [turn for turn in made(item) if turn.kind in ("unknown", "absent")]
    assert turns and not any(re.search(rf"\bthe ({thing}|cat)\b", turn.question) for turn in turns)
    for turn in turns:
        assert turn.rule == (turn.kind == "unknown") == (turn.answer == "unknown")
        if turn.kind == "absent":
            (named,) = re.findall(r"^There is no (.+) in the picture\.$", turn.answer)
            assert f"the {named}" in turn.question


def test_counts_are_the_boxes() -> None:
    counts = Counter(box[0] for box in BOXED["boxes"])
    counted = Counter()
    for turn in made(BOXED):
        if turn.kind == "count":
            (name,) = (name for name in counts if f"How many {plural(name)} " in turn.question)
            assert turn.answer == str(counts[name])
            counted[name] += 1
    assert counted["dog"] > 1.5 * counted["kite"]  # larger numbers are rarer, so they are asked for more often


def test_relations_are_true_and_not_of_what_is_nearly_level() -> None:
    places = {box[0]: (box[1] + box[3] / 2, box[2] + box[4] / 2) for box in BOXED["boxes"]}
    kinds = Counter()
    for turn in made(BOXED):
        if not turn.kind.startswith("relation"):
            continue
        kinds[turn.kind] += 1
        subject, reference = re.findall(r"\b(person|kite|umbrella)\b", turn.question)
        dx, dy = (a - b for a, b in zip(places[subject], places[reference], strict=True))
        if "left or the right" in turn.question:
            truth = "left" if dx < 0 else "right"
            assert turn.answer == truth and abs(dx) > 0.2
        elif "left" in turn.question or "right" in turn.question:
            assert turn.answer == ("yes" if ("left" in turn.question) == (dx < 0) else "no")
        else:
            assert abs(dy) > 0.25
            assert turn.answer == ("yes" if ("above" in turn.question) == (dy < 0) else "no")
        assert turn.mirrored == ("left" not in turn.question and "right" not in turn.question)
    assert kinds["relation"] and abs(kinds["relation-yes"] - kinds["relation-no"]) < 0.4 * kinds["relation-yes"]


def test_what_has_sides_or_letters_is_not_flipped() -> None:
    sided = {"qa": [["What is on the left?", "a dog"], ["What does the sign say?", "stop"], ["What is it?", "a dog"]]}
    flipped = {turn.question: turn.mirrored for turn in made(sided, rounds=3)}
    assert flipped == {"What is on the left?": False, "What does the sign say?": False, "What is it?": True}
    captions = {"captions": ["A dog at the right edge of the picture."]}
    assert all(not turn.mirrored for turn in made(captions, "flickr8k", 3) if turn.kind == "caption")


@pytest.mark.parametrize(
    ("one", "many", "article"),
    [
        ("person", "people", "a person"),
        ("traffic light", "traffic lights", "a traffic light"),
        ("wine glass", "wine glasses", "a wine glass"),
        ("sandwich", "sandwiches", "a sandwich"),
        ("baby", "babies", "a baby"),
        ("toy", "toys", "a toy"),
        ("bus", "buses", "a bus"),
        ("orange", "oranges", "an orange"),
        ("airplane", "airplanes", "an airplane"),
        ("skis", "skis", "skis"),
        ("mouse", "mice", "a mouse"),
        ("knife", "knives", "a knife"),
    ],
)
def test_plural_and_article(one: str, many: str, article: str) -> None:
    assert plural(one) == many and with_article(one) == article


def test_a_colour_is_asked_for_where_captions_agree() -> None:
    found = {(turn.question, turn.answer) for turn in made(CAPTIONED, "flickr8k", 3) if turn.kind == "colour"}
    assert found == {("What color is the ball?", "red")}
    contradictory = {"captions": ["A red car in a street.", "A blue car drives by."]}
    assert not any(turn.kind == "colour" for turn in made(contradictory, "flickr8k", 3))


def test_captions_become_sentences_and_the_most_usual_come_first() -> None:
    assert sentence("  a dog , running  on grass . ") == "A dog, running on grass."
    unusual = "My holiday with uncle Jack at last."
    similar = ["A brown dog runs on the grass.", "A dog runs over green grass.", "The dog runs on some grass."]
    best = usual_captions([unusual, *similar], limit=4)
    assert best[-1] == unusual and set(best[:3]) == set(similar)
