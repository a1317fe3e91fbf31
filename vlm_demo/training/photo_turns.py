"""Photo turns: a photograph's annotations → questions and answers to train on.

Reads one line of an ``annotations.jsonl`` (captions, questions, labels, boxes) and asks what it can answer; opens no
picture. Yes and no, and the small numbers, are balanced here, since most people's questions are not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from vlm_demo.training.photo_words import (
    ABSENT,
    CAPTION_NOUNS,
    COCO_THINGS,
    COLOURED_NOUNS,
    COLOURS,
    COUNTING,
    DESCRIBE,
    DOING,
    IMPLIED_BY,
    LABELLED_THINGS,
    NAMING,
    PRESENCE,
    READABLE,
    STYLE,
    VOC_THINGS,
    WEARING,
)

UNKNOWN = "unknown"


@dataclass(frozen=True)
class TrainingTurn:
    """One question and its answer.

    Attributes:
        question, answer: as they are written.
        kind: what it teaches, for the balance and for figures while training.
        mirrored: whether it stays true when the picture is flipped left to right.
        rule: True = only with the evidence-only rule, False = only without, None = either.
        follow: further turns of the same conversation.
    """

    question: str
    answer: str
    kind: str
    mirrored: bool = True
    rule: bool | None = None
    follow: tuple[tuple[str, str], ...] = ()


WORD = re.compile(r"[a-z']+")
# How often a count of 1, 2, ... 8 boxes of one name is asked for: single things are so much more frequent that a model
# would otherwise learn to answer "1".
OFTEN_COUNTED = (0.06, 0.2, 0.4, 0.7, 1.0, 1.0, 0.7, 0.7)


def with_article(noun: str) -> str:
    """ "an umbrella", "a car", "skis"."""
    if noun in ("skis", "scissors", "grass", "snow", "hair"):
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    """The plural of a noun or of a noun phrase's last word."""
    *before, last = noun.split(" ")
    irregular = {
        "person": "people", "man": "men", "woman": "women", "child": "children", "knife": "knives", "sheep": "sheep",
        "skis": "skis", "scissors": "scissors", "mouse": "mice", "tv": "tvs", "bus": "buses", "broccoli": "broccoli",
    }  # fmt: skip
    if last in irregular:
        last = irregular[last]
    elif last.endswith(("s", "sh", "ch", "x")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join([*before, last])


def sentence(caption: str) -> str:
    """A caption as a sentence: capital first, one full stop at its end, no space before punctuation."""
    text = re.sub(r"\s+([.,;!?])", r"\1", " ".join(caption.split())).strip(" .\"'")
    return f"{text[:1].upper()}{text[1:]}."


def usual_captions(captions: Sequence[str], limit: int = 3) -> list[str]:
    """The captions that agree most with the others of the picture, best first; each of a sensible length.

    Agreement is the mean share of a caption's words that the others have too: what one person alone noticed can't be
    learnt from one picture.
    """
    sentences = [sentence(caption) for caption in captions]
    fitting = [text for text in sentences if 6 <= len(text.split()) <= 16] or [
        text for text in sentences if len(text.split()) > 3
    ]
    words = {text: set(WORD.findall(text.lower())) for text in sentences}

    def agreement(text: str) -> float:
        others = [words[other] for other in sentences if other is not text]
        current = words[text] or {""}
        return sum(len(current & other) / max(len(current), len(other), 1) for other in others)

    return sorted(dict.fromkeys(fitting), key=agreement, reverse=True)[:limit]


@cache
def _mentions(noun: str) -> re.Pattern[str]:
    return re.compile(rf"\b({re.escape(noun)}|{re.escape(plural(noun))})\b")


class PhotoTurns:
    """Makes turns of one folder's items; knows which things occur together in the folder, for plausible absent ones."""

    def __init__(self, items: Iterable[Mapping[str, Any]]) -> None:
        self.co_occurring: dict[str, Counter[str]] = {}
        self.answers: Counter[str] = Counter()
        for item in items:
            present = {_readable(box[0]) for box in item.get("boxes", ())}
            present |= set(item.get("labels", {}).get("things", ()))
            for thing in present:
                self.co_occurring.setdefault(thing, Counter()).update(present - {thing})
            self.answers.update(str(answer).lower() for _, answer in item.get("qa", ()))

    def __call__(self, item: Mapping[str, Any], folder: str, rng: np.random.Generator) -> list[TrainingTurn]:
        """All turns of one item, in no order; a caller draws from them."""
        turns: list[TrainingTurn] = []
        captions = item.get("captions", ())
        if captions:
            turns += self._described(captions, rng)
        turns += self._human_questions(item.get("qa", ()), folder, rng)
        labels = item.get("labels", {})
        if "things" in labels:
            absent = [thing for thing in LABELLED_THINGS if thing not in labels["things"]]
            turns += self._presence(list(labels["things"]), absent, rng)
            turns += self._absent(absent, captions, rng)
        if item.get("boxes"):
            turns += self._boxed(item["boxes"], VOC_THINGS if folder == "voc2007" else COCO_THINGS, captions, rng)
        turns += self._labelled(labels, rng)
        return turns

    def _described(self, captions: Sequence[str], rng: np.random.Generator) -> list[TrainingTurn]:
        usual = usual_captions(captions)
        if not usual:
            return []
        turns = [TrainingTurn(pick(DESCRIBE, rng), caption, "caption", not _sided(captions)) for caption in usual]
        text = " ".join(captions).lower()
        if len(captions) >= 4:
            present = [noun for noun in CAPTION_NOUNS if _mentions(noun).search(text)]
            absent = [noun for noun in CAPTION_NOUNS if noun not in present and not _implied(noun, text)]
            turns += [
                TrainingTurn(_presence_question(noun, rng), "yes", "presence-yes") for noun in _sample(present, 1, rng)
            ]
            turns += [
                TrainingTurn(_presence_question(noun, rng), "no", "presence-no") for noun in _sample(absent, 1, rng)
            ]
        coloured: dict[str, set[str]] = {}
        for colour, noun in re.findall(rf"\b({'|'.join(COLOURS)}) ({'|'.join(COLOURED_NOUNS)})\b", text):
            coloured.setdefault(noun, set()).add("gray" if colour == "grey" else colour)
        for noun, colours in coloured.items():
            if len(colours) == 1:
                turns.append(TrainingTurn(f"What color is the {noun}?", next(iter(colours)), "colour"))
        return turns

    def _human_questions(
        self, qa: Sequence[Sequence[str]], folder: str, rng: np.random.Generator
    ) -> list[TrainingTurn]:
        turns = []
        for question, answer in qa:
            question, answer = " ".join(str(question).split()), str(answer).strip()
            if folder == "daquar":
                question = re.sub(r" ?image ?\d+", "the picture", question)
                question = f"{question[:1].upper()}{question[1:]}?"
                answer = answer.replace("_", " ")
            kind = {"yes": "vqa-yes", "no": "vqa-no", "true": "vqa-true", "false": "vqa-false"}.get(answer.lower())
            kind = kind or ("vqa-number" if answer.isdigit() else "vqa-word")
            # Of the answers that are given to very many questions not all are needed.
            frequency = self.answers[answer.lower()] / max(sum(self.answers.values()), 1)
            if kind == "vqa-number" and rng.random() > min(1.0, (0.02 / max(frequency, 1e-9)) ** 0.5):
                continue
            turns.append(TrainingTurn(question, answer, kind, not _sided([question, answer])))
        return turns

    def _presence(self, present: list[str], absent: list[str], rng: np.random.Generator) -> list[TrainingTurn]:
        """As many absent things as present ones, half of the absent ones often occur together with those present."""
        if not absent or not present:
            return []
        turns = []
        for thing in _sample(present, 2, rng):
            turns.append(TrainingTurn(_presence_question(thing, rng), "yes", "presence-yes"))
            neighbours = Counter[str]()
            for other in present:
                neighbours += self.co_occurring.get(other, Counter())
            likely = [name for name, _ in neighbours.most_common() if name in absent][:6]
            missing = pick(likely, rng) if likely and rng.random() < 0.55 else pick(absent, rng)
            turns.append(TrainingTurn(_presence_question(missing, rng), "no", "presence-no"))
        return turns

    def _absent(self, absent: list[str], captions: Sequence[str], rng: np.random.Generator) -> list[TrainingTurn]:
        text = " ".join(captions).lower()
        absent = [t for t in absent if not _mentions(t).search(text) and t not in ("person", "skis", "scissors")]
        if not absent:
            return []
        thing = pick(absent, rng)
        question = pick(ABSENT, rng).format(x=thing)
        correction = f"There is no {thing} in the picture."
        return [
            TrainingTurn(question, UNKNOWN, "unknown", rule=True),
            TrainingTurn(question, correction, "absent", rule=False),
        ]

    def _boxed(
        self, boxes: Sequence[Sequence[Any]], things: Sequence[str], captions: Sequence[str], rng: np.random.Generator
    ) -> list[TrainingTurn]:
        names = [_readable(box[0]) for box in boxes]
        counts = Counter(names)
        all_names = [_readable(thing) for thing in things]
        absent = [thing for thing in all_names if thing not in counts]
        turns = self._presence(list(counts), absent, rng) + self._absent(absent, captions, rng)
        # Large counts are rare: the rarer, the more often they are asked for.
        for name, count in counts.items():
            same_name = [box for box, noun in zip(boxes, names, strict=True) if noun == name]
            largest = max(box[3] * box[4] for box in same_name)
            if count <= 8 and largest > 0.004 and rng.random() < OFTEN_COUNTED[count - 1]:
                turns.append(TrainingTurn(pick(COUNTING, rng).format(s=plural(name)), str(count), "count"))
        single = [
            (name, box) for name, box in zip(names, boxes, strict=True) if counts[name] == 1 and box[3] * box[4] > 0.01
        ]
        if len(single) >= 2:
            first, second = (single[i] for i in rng.permutation(len(single))[:2])
            turns += _relations(first, second, rng)
        if len(counts) >= 2:
            areas = sorted(zip(names, (box[3] * box[4] for box in boxes), strict=True), key=lambda pair: -pair[1])
            runner_up = next((area for name, area in areas if name != areas[0][0]), 0.0)
            if areas[0][1] > 1.6 * runner_up:
                turns.append(TrainingTurn("What is the largest thing in the picture?", areas[0][0], "largest"))
        elif max(box[3] * box[4] for box in boxes) > 0.2 and len(counts) == 1:
            turns.append(TrainingTurn(pick(NAMING, rng), names[0], "name"))
        return turns

    def _labelled(self, labels: Mapping[str, Any], rng: np.random.Generator) -> list[TrainingTurn]:
        turns = []
        if "action" in labels:
            turns.append(TrainingTurn(pick(DOING, rng), labels["action"], "action"))
        if "garment" in labels:
            garment = {"longsleeve": "long sleeve shirt", "outwear": "coat"}.get(labels["garment"], labels["garment"])
            turns.append(TrainingTurn(pick(WEARING, rng), garment, "garment"))
        if "item" in labels:
            turns.append(TrainingTurn(pick(NAMING, rng), labels["kind"].lower(), "name"))
            if labels["item"] != labels["kind"]:
                question = f"What kind of {labels['kind'].lower()} is this?"
                turns.append(TrainingTurn(question, labels["item"].lower(), "name-fine"))
        if "style" in labels:
            turns.append(TrainingTurn(pick(STYLE, rng), labels["style"], "style"))
        if "object" in labels and labels["object"] not in ("faces", "garfield", "snoopy"):
            name = {"airplanes": "airplane", "motorbikes": "motorbike", "car side": "car", "leopards": "leopard"}
            turns.append(TrainingTurn(pick(NAMING, rng), name.get(labels["object"], labels["object"]), "name"))
        return turns


def _relations(first: tuple[str, Any], second: tuple[str, Any], rng: np.random.Generator) -> list[TrainingTurn]:
    (subject, a), (reference, b) = first, second
    dx = (a[1] + a[3] / 2) - (b[1] + b[3] / 2)
    dy = (a[2] + a[4] / 2) - (b[2] + b[4] / 2)
    turns = []
    if abs(dx) > 0.2:
        side = "left" if dx < 0 else "right"
        claimed = "left" if rng.random() < 0.5 else "right"
        answer = "yes" if claimed == side else "no"
        relation = f"to the {claimed} of"
        turns.append(TrainingTurn(f"Is the {subject} {relation} the {reference}?", answer, f"relation-{answer}", False))
        turns.append(
            TrainingTurn(f"Is the {subject} on the left or the right of the {reference}?", side, "relation", False)
        )
    if abs(dy) > 0.25:
        vertical = "above" if dy < 0 else "below"
        claimed = "above" if rng.random() < 0.5 else "below"
        answer = "yes" if claimed == vertical else "no"
        turns.append(TrainingTurn(f"Is the {subject} {claimed} the {reference}?", answer, f"relation-{answer}"))
    return turns


def _presence_question(thing: str, rng: np.random.Generator) -> str:
    return pick(PRESENCE, rng).format(a=with_article(thing))


def _implied(noun: str, text: str) -> bool:
    """Whether a caption that does not name the thing may still mean it."""
    return noun in IMPLIED_BY and bool(re.search(rf"\b({IMPLIED_BY[noun]})", text))


def _sided(texts: Sequence[str]) -> bool:
    return bool(re.search(r"\b(left|right|clockwise|reads?|says?|letters?|numbers?|words?)\b", " ".join(texts).lower()))


def _readable(name: str) -> str:
    return READABLE.get(name, name)


def pick(options: Sequence[Any], rng: np.random.Generator) -> Any:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def _sample(options: Sequence[str], limit: int, rng: np.random.Generator) -> list[str]:
    return [options[i] for i in rng.permutation(len(options))[:limit]]
