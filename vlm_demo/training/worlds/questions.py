"""Questions: from a picture's truth to questions in words, with their answers, answerable or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vlm_demo.training.worlds.areas import AREAS
from vlm_demo.training.worlds.phrasings import choose, tidy
from vlm_demo.training.worlds.question import Question
from vlm_demo.training.worlds.world import DrawnPicture

IN_SENTENCES = ("describe", "what")  # answered in more than a word
LEAD_INS = ("Please answer: ", "Question: ", "Look at the {image}. ", "Please: ", "Hi. ")
ENDS = (" Answer in one word.", " Answer with one word.", " Answer briefly.", " Be brief.")


def ask(
    picture: DrawnPicture,
    n: int,
    rng: np.random.Generator,
    ocr_lines: list[str] | None = None,
    held_out: bool = False,
) -> list[Question]:
    """Up to ``n`` different questions about the picture.

    Args:
        ocr_lines: the OCR lines that the prompt will hold, or None if OCR is off. A field's answer is copied from them.
        held_out: use the phrasings that training never sees.
    """
    forms = AREAS[picture.kind].asker(picture, rng, ocr_lines).forms()
    weights = np.array([form.weight for form in forms])
    questions: list[Question] = []
    seen: set[str] = set()
    for _ in range(n * 4 if forms else 0):
        if len(questions) == n:
            break
        candidate = forms[int(rng.choice(len(forms), p=weights / weights.sum()))].make()
        if candidate is None:
            continue
        question = worded(candidate, rng, held_out)
        if question.text.lower() not in seen:
            seen.add(question.text.lower())
            questions.append(question)
    return questions


def worded(question: Question, rng: np.random.Generator, held_out: bool) -> Question:
    """The question, and what follows it, in one phrasing."""
    follow = worded(question.follow, rng, held_out) if question.follow else None
    return replace(question, text=fill(question.kind, question.fields, rng, held_out), follow=follow)


def fill(kind: str, fields: dict[str, str], rng: np.random.Generator, held_out: bool) -> str:
    """One phrasing of the kind with its fields, spelled and punctuated as people type."""
    template = choose(kind, rng, held_out)
    words = {
        "color": str(rng.choice(["color", "colour"])),
        "image": str(rng.choice(["image", "picture", "scene", "drawing"], p=[0.4, 0.4, 0.12, 0.08])),
        "objects": str(rng.choice(["shapes", "objects", "things"])),
        **fields,
    }
    text = tidy(template.format(**words))
    text = text[0].upper() + text[1:]
    style = rng.random()
    if style < 0.07 and not _case_matters(fields):
        text = text.lower()
    elif style < 0.12:
        text = text.rstrip("?.")
    elif style < 0.16:
        text = str(rng.choice(LEAD_INS)).format(**words) + text
    elif style < 0.19 and kind not in IN_SENTENCES:
        text += str(rng.choice(ENDS))
    return text


def _case_matters(fields: dict[str, str]) -> bool:
    """Whether a field holds a name, such as a chart's label, whose capitals matter."""
    return any(value != value.lower() for value in fields.values())
