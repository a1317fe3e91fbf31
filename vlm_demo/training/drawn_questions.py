"""Drawn questions: which questions go with a picture that is stored for training, and their wording.

Half are phrased as in `worlds/phrasings.py`, half in the few plain ways in which most people type them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher

import numpy as np

from vlm_demo.training.worlds.areas import AREAS
from vlm_demo.training.worlds.question import Question, QuestionForm
from vlm_demo.training.worlds.questions import ENDS, worded
from vlm_demo.training.worlds.sentences import grouped
from vlm_demo.training.worlds.world import COLOURS, DrawnPicture, number_word

PLAIN = 0.5  # the share of questions in a plain wording, where there is one
PLAIN_WORDINGS: dict[str, tuple[str, ...]] = {
    "count": ("How many {plural} are there?",),
    "exist": ("Is there a {obj}?", "Is there a {obj} in the picture?"),
    "colour": ("What color is the {obj}?", "What colour is the {obj}?"),
    "where": ("Where is the {obj}?",),
    "what": ("What is in the picture?", "What is in the image?"),
    "describe": ("Describe the picture.", "Describe the image.", "What do you see?"),
    "any relation": ("Is {one} {relation} {two}?",),
    "relation": ("Is the {obj} {relation} the {other}?",),
    "beside": ("What is {relation} the {other}?",),
    "shape": ("What shape is {tint}?",),
    "yes statement": ("Is it true that {statement}?",),
    "background": ("What color is the background?",),
    "extreme": ("Which {wanted} is {extreme}?",),
    "compare": ("Are there more {plural} than {others}?",),
    "label extreme": ("Which category has the {most} value?",),
    "bar value": ("What is the value of {label}?",),
    "chart kind": ("What kind of chart is this?",),
    "chart title": ("What is the title of the chart?",),
    "widget text": ("What does the {obj} say?", "What is the label of the {obj}?"),
    "chosen": ("Which {obj} is {state}?",),
    "screen title": ("What is the title?", "What is the title of the screen?"),
    "state": ("Is the {obj} {state}?",),
    "total": ("What is the total?", "What is the total amount?"),
    "date": ("What is the date?",),
    "shop": ("What is the name of the company?", "What is the name of the shop?"),
    "seller": ("What is the name of the company?", "Who is the seller?"),
    "buyer": ("Who is the customer?",),
    "document number": ("What is the {field}?",),
    "document phone": ("What is the phone number?",),
    "document address": ("What is the address?",),
    "document sort": ("What kind of document is this?",),
    "field": ("What is the {field}?",),
    "form field": ("What is the {field}?",),
    "price": ("What is the price of {item}?",),
    "quantity": ("What is the quantity of {item}?",),
    "table cell": ("What is the {column} of {row}?",),
}
# Of these kinds there is one question a picture, of all others two.
ONE_A_PICTURE = (
    "describe", "what", "medium", "element", "theme", "chart kind", "document sort", "legend", "colours", "kinds",
    "background", "mention", "heading", "screen title", "screen heading", "dialog title", "chart title", "currency",
    "total", "date", "shop", "seller", "labels", "only", "how many boxes", "direction", "negative",
)  # fmt: skip
# Questions about what no drawn picture shows, and guesses as answers without the evidence-only rule.
ABSENT_CONTENT = tuple(
    tuple(pair.split("|"))
    for pair in (
        "What is the man holding?|a phone;What is the woman wearing?|a dress;What color is the dog?|brown;"
        "What is the dog doing?|sleeping;Where is the cat?|on the sofa;What color is the car?|red;"
        "What is the boy eating?|an apple;What is the girl doing?|reading;How is the weather?|sunny;"
        "What is the child playing with?|a ball;What is on the plate?|food;What sport is being played?|tennis;"
        "What is the man doing?|walking;What color is the man's shirt?|blue;Who is driving the bus?|a man;"
        "What is behind the house?|a tree;What is the bird sitting on?|a branch;What color is the cat?|black;"
        "What is the woman looking at?|her phone;How old is the boy?|ten;What animal is on the grass?|a cow;"
        "What is the horse doing?|eating grass;What color is the woman's hair?|brown;What is in the vase?|flowers;"
        "What is the baby holding?|a toy;Which room is this?|a kitchen;What are the people doing?|talking;"
        "What brand is the laptop?|Dell;What is the name of the street?|Main Street;What color is the bus?|yellow;"
        "What is the person riding?|a bicycle;What fruit is in the bowl?|apples;What color is the umbrella?|black;"
        "What is the man wearing on his head?|a hat;Is the dog sleeping?|yes;Is the woman smiling?|yes;"
        "Is the car parked?|yes;Is the door open?|no;Is the man tall?|yes;Is the cat black?|no;"
        "Is the train moving?|no;Are the children playing?|yes;Is the boy wearing a hat?|no;Is the window open?|yes"
    ).split(";")
)
PLAIN_ONLY = ("quantity",)  # the other wordings read badly with the names of goods
FORM_WEIGHTS = {"count": 1.8, "exist": 1.6}  # relative to the weights of a scene's asker
COMPOUND = re.compile(r"\b(either|or|if|unless|neither)\b")  # statements of several clauses
COMPOUND_SKIPPED = 0.65  # the share of them that is not asked
EMPTY = re.compile(r"of the (?:things|objects|shapes) are (?:things|objects|shapes)\b")
PLURAL = re.compile(r"\b([Ww])hat(?: is|'s) the ((?:different )?(?:kinds|types|sorts|colors|colours|names)\b)")
LEAD_INS = re.compile(r"^(?:Hi\. |Question: |Please: |Please answer: |Look at the \w+\. )")
NEEDS_OCR = ("charts", "screens", "documents")
POSITIVE = {
    form: positive
    for positive, words in (
        (True, "yes|true|on|enabled|clickable|active|selected|checked|ticked"),
        (False, "no|false|off|disabled|inactive|not selected|unchecked|not ticked|not checked"),
    )
    for form in words.split("|")
}
# How often yes is preferred, so that it is about as frequent as no in the end: many pictures allow only no.
YES_SHARE = {"screens": 0.55}


@dataclass
class QuestionsAsked:
    """What is asked of one picture: pairs of a question and its answer; of an unanswerable one, of a question and a
    guess, the answer without the evidence-only rule; of a follow-up, two pairs, the second of which needs the
    first to be understood."""

    qa: list[tuple[str, str]] = field(default_factory=list)
    unanswerable: list[tuple[str, str]] = field(default_factory=list)
    follow: list[tuple[tuple[str, str], tuple[str, str]]] = field(default_factory=list)


def questions_about(
    picture: DrawnPicture, n: int, rng: np.random.Generator, ocr_lines: list[str] | None, caption: str
) -> QuestionsAsked:
    """``n`` questions that the picture answers, as far as it allows, and one or two that it does not.

    Args:
        ocr_lines: the lines that OCR read, or None if it is off: then there is no question about printed text.
        caption: the answer to "Describe the picture.".
    """
    if picture.kind == "text":
        return _lettering(picture, n, rng, ocr_lines or [])
    forms = AREAS[picture.kind].asker(picture, rng, ocr_lines).forms()
    if not forms:
        return QuestionsAsked()
    weights = np.array([form.weight * _form_weight(form, picture.kind) for form in forms])
    chosen = rng.choice(len(forms), n * 14, p=weights / weights.sum())
    ocr_off = ocr_lines is None and picture.kind in NEEDS_OCR
    max_unanswerable = max(1, n // 3 if ocr_off else n // 4)
    found, kinds, seen = QuestionsAsked(), Counter[str](), set[str]()
    next_positive: dict[str, bool] = {}
    for choice in chosen:
        if len(found.qa) + len(found.follow) >= n:
            break
        candidate = forms[int(choice)].make()
        if candidate is None or not _accepted(candidate, kinds, next_positive, YES_SHARE.get(picture.kind, 0.5), rng):
            continue
        question = _worded(_answered(candidate, caption), picture.kind, rng)
        text = question.text.lower().replace("colour", "color").rstrip("?. ")
        if text in seen or EMPTY.search(text):
            continue
        pair = question.text, question.answer
        if question.guess is not None:
            if len(found.unanswerable) == max_unanswerable:
                continue
            found.unanswerable.append((question.text, question.guess))
        elif question.follow and question.follow.guess is None:
            found.follow.append((pair, (question.follow.text, question.follow.answer)))
        else:
            found.qa.append(pair)
        kinds[candidate.kind] += 1
        seen.add(text)
    if rng.random() < 0.3:
        found.unanswerable.append(_absent_content(rng))
    return found


def _form_weight(form: QuestionForm, kind: str) -> float:
    return FORM_WEIGHTS.get(form.name, 1.0) if kind == "scenes" else 1.0


def _accepted(
    candidate: Question, kinds: Counter[str], next_positive: dict[str, bool], yes_share: float, rng: np.random.Generator
) -> bool:
    """Whether to ask this too. The next yes or no of a kind, kept in ``next_positive``, is drawn at random, so that
    neither is more frequent."""
    limit = 1 if candidate.kind in ONE_A_PICTURE else 3 if candidate.kind == "count" else 2
    if kinds[candidate.kind] >= limit:
        return False
    if COMPOUND.search(candidate.fields.get("statement", "")) and rng.random() < COMPOUND_SKIPPED:
        return False
    positive = POSITIVE.get(candidate.answer)
    if positive is None:
        return True
    if next_positive.setdefault(candidate.kind, bool(rng.random() < yes_share)) != positive:
        return False
    del next_positive[candidate.kind]
    return True


def _answered(question: Question, caption: str) -> Question:
    """With a sentence as the answer where the picture is to be described, and equal things named together."""
    if question.kind == "describe":
        text = question.answer[0].upper() + question.answer[1:]
        return replace(question, answer=text.rstrip(".") + "." if question.copied else caption)
    if question.kind == "what" and not question.answer.startswith("many"):
        return replace(question, answer=grouped(re.split(r", | and ", question.answer)))
    return question


def _worded(candidate: Question, kind: str, rng: np.random.Generator) -> Question:
    """The question in words that fit the kind of picture."""
    if kind != "scenes":
        candidate = _with_neutral_nouns(candidate, rng)
    question = worded(candidate, rng, held_out=False)
    wordings = PLAIN_WORDINGS.get(candidate.kind)
    if wordings is not None and (rng.random() < PLAIN or candidate.kind in PLAIN_ONLY):
        text = wordings[int(rng.integers(len(wordings)))].format(**candidate.fields)
        question = replace(question, text=re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text))
    return _tidied(question)


def _with_neutral_nouns(question: Question, rng: np.random.Generator) -> Question:
    """With words that fit charts, screens and documents, which are no drawings of shapes."""
    words = {"image": ("picture", "image"), "objects": ("objects", "things")}
    fields = {name: options[int(rng.integers(len(options)))] for name, options in words.items()} | question.fields
    return replace(
        question, fields=fields, follow=_with_neutral_nouns(question.follow, rng) if question.follow else None
    )


def _tidied(question: Question, follows: bool = False) -> Question:
    text = PLURAL.sub(r"\1hat are the \2", question.text)
    if " " in question.answer:
        for end in ENDS[:2]:
            text = text.removesuffix(end)
    if follows:
        text = LEAD_INS.sub("", text)
        text = text[0].upper() + text[1:]
    follow = _tidied(question.follow, follows=True) if question.follow else None
    return replace(question, text=text, follow=follow)


def _absent_content(rng: np.random.Generator) -> tuple[str, str]:
    question, guess = ABSENT_CONTENT[int(rng.integers(len(ABSENT_CONTENT)))]
    if guess in ("yes", "no"):
        guess = ("yes", "no")[int(rng.integers(2))]
    return question, guess


READ_TEXT = (
    "What does the text say?", "What does the text say?", "What does it say?", "Read the text.", "Read it to me.",
    "What is written here?", "What text is in the picture?", "What is written in the image?", "Write down the text.",
    "What does the picture say?", "Which words are in the picture?",
)  # fmt: skip
OTHER_WORDS = "Monday garden OPEN price Anna Street free water Closed Coffee exit north please Room river".split()
# What a short text may lack: how it is asked for, a plausible guess, and the sorts of texts that may have it.
LACKING = (
    ("What is the phone number?", "555-0123", ("card", "words")),
    ("What is the price?", "4.50", ("menu", "sentence")),
    ("How much does it cost?", "9.99", ("menu", "sentence")),
    ("What is the date?", "12 May 2019", ("date", "card")),
    ("What time does it open?", "9:00", ("hours", "date", "sign")),
    ("What is the name of the street?", "Main Street", ("card",)),
    ("What is the website?", "www.example.com", ()),
    ("What is the email address?", "info@example.com", ()),
    ("Who wrote this?", "a shop owner", ()),
    ("What is the name of the company?", "Sunny Mart", ("card", "sign", "words", "date")),
)


def _lettering(picture: DrawnPicture, n: int, rng: np.random.Generator, ocr_lines: list[str]) -> QuestionsAsked:
    """What the text says, and something about it."""
    lines = [line for line in map(_without_strays, ocr_lines) if line]
    found = QuestionsAsked([(READ_TEXT[int(rng.integers(len(READ_TEXT)))], "\n".join(lines))])
    others = _about_text(picture, rng, lines)
    for i in rng.permutation(len(others)):
        if len(found.qa) < n and others[int(i)] not in found.qa:
            found.qa.append(others[int(i)])
    if rng.random() < 0.3:
        lacking = [(q, guess) for q, guess, sorts in LACKING if picture.facts["sort"] not in sorts]
        found.unanswerable.append(lacking[int(rng.integers(len(lacking)))])
    elif rng.random() < 0.15:
        found.unanswerable.append(_absent_content(rng))
    return found


def _without_strays(line: str) -> str:
    """The line without the stray characters that OCR reads at its ends; signs of currencies and units are none."""
    words = line.split()
    while words and not any(map(_belongs, words[0])):
        words.pop(0)
    while words and not any(map(_belongs, words[-1])):
        words.pop()
    return " ".join(words)


def _belongs(letter: str) -> bool:
    return letter.isalnum() or letter == "%" or unicodedata.category(letter) == "Sc"


def _about_text(picture: DrawnPicture, rng: np.random.Generator, lines: list[str]) -> list[tuple[str, str]]:
    ink, background = picture.facts["ink"], picture.facts["background"]
    colour = ("color", "colour")[int(rng.integers(2))]
    found = [
        (f"What {colour} is the text?", ink),
        (f"What {colour} are the letters?", ink),
        _yes_no("Is the text {}?", ink, [name for name in COLOURS if name != ink], rng),
    ]
    if background:
        found.append((f"What {colour} is the background?", background))
    words_read = [word.strip(".,:;!?") for line in lines for word in line.split()]
    if len(words_read) > 1:
        ordinal, word = (("first", words_read[0]), ("last", words_read[-1]))[int(rng.integers(2))]
        found += [(f"What is the {ordinal} word?", word)] if word.isalpha() else []
    candidates = sorted({word for word in words_read if word.isalpha() and len(word) > 2})
    if candidates:
        present = candidates[int(rng.integers(len(candidates)))]
        others = [word for word in OTHER_WORDS if word.lower() not in " ".join(lines).lower()]
        found.append(_yes_no('Does it say "{}"?', present, others, rng))
    if len(lines) == len(picture.things):
        found.append(("How many lines of text are there?", number_word(len(lines))))
        if len(lines) > 1:
            ordinals = [("first", 0), ("last", -1), ("second", 1)]
            ordinal, i = ordinals[int(rng.integers(3))]
            found += [(f"What does the {ordinal} line say?", lines[i])] * 2
    return found


def _yes_no(template: str, right: str, others: list[str], rng: np.random.Generator) -> tuple[str, str]:
    if rng.random() < 0.5:
        return template.format(right), "yes"
    return template.format(others[int(rng.integers(len(others)))]), "no"


def similarity(ocr_lines: list[str], printed: list[str]) -> float:
    """The share of a text that OCR read correctly, 0..1."""
    return SequenceMatcher(None, "\n".join(ocr_lines), "\n".join(printed), autojunk=False).ratio()
