"""Questions: from a picture's truth to questions with their answers, answerable or not.

An unanswerable question has two right answers: with the evidence-only rule ``unknown``, without it a plausible guess,
as other vision-language models give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm_demo.synthetic.phrasings import choose
from vlm_demo.synthetic.scene_facts import Looks
from vlm_demo.synthetic.scene_questions import SceneAsker
from vlm_demo.synthetic.world import COLOURS, UNKNOWN, Picture, number_word

COPIED = ("bar label", "total", "date", "shop", "price", "field")
TOLD = ("describe", "what", "transcript")  # answered in more than a word
LEADS = ("Please answer: ", "Question: ", "Look at the {image}. ", "Please: ", "Hi. ")
ENDS = (" Answer in one word.", " Answer with one word.", " Answer briefly.", " Be brief.")


@dataclass(frozen=True)
class Question:
    """One question about a picture.

    Attributes:
        kind: what is asked for.
        text: the question as a person would type it.
        answer: the right answer under the evidence-only rule.
        guess: the answer without the rule, where that differs (the question is unanswerable), else None.
        looks: from which character of the answer on it is about which things of the picture; () = not said, no
            things = about their absence; two from the same character = the first things against the second.
        copied: the part of the answer that stands in the OCR text, or "".
        among: the things to be counted on the way to the answer, such as all bars to find the tallest; None = those
            of ``looks``.
    """

    kind: str
    text: str
    answer: str
    guess: str | None = None
    looks: Looks = ()
    copied: str = ""
    among: tuple[int, ...] | None = None

    @property
    def counted(self) -> tuple[int, ...]:
        """``among``, or all things that the answer is about."""
        if self.among is not None:
            return self.among
        return tuple(sorted({thing for _, things in self.looks for thing in things}))


def ask(
    picture: Picture,
    n: int,
    rng: np.random.Generator,
    read: list[str] | None = None,
    held_out: bool = False,
    wide: bool = False,
) -> list[Question]:
    """Up to ``n`` different questions about the picture.

    Args:
        read: the OCR lines that the prompt will hold, or None if OCR is off. A field's answer is copied from them.
        held_out: use the phrasings that training never sees.
        wide: also the harder kinds, which the shipped model was not taught: relations, extremes, comparisons of counts
            and of labelled bars, and the smaller fields of a receipt.
    """
    if picture.kind == "scene":
        makers = SceneAsker(picture, rng, wide).makers()
    elif picture.kind == "chart":
        makers = _chart_makers(picture, rng, read, wide)
    else:
        makers = _receipt_makers(picture, rng, read, wide)
    weights = np.array([weight for weight, _ in makers])
    questions: list[Question] = []
    seen: set[str] = set()
    for _ in range(n * 3):
        if len(questions) == n:
            break
        made = makers[int(rng.choice(len(makers), p=weights / weights.sum()))][1]()
        if made is None:
            continue
        kind, fields, answer, guess, looks = made
        text = fill(kind, fields, rng, held_out)
        if text.lower() not in seen:
            seen.add(text.lower())
            copied = _copied(kind, picture, answer, guess, read)
            among = tuple(range(len(picture.things))) if kind in ("bar label", "bar colour") and looks else None
            questions.append(Question(kind, text, answer, guess, looks, copied, among))
    return questions


def _copied(kind: str, picture: Picture, answer: str, guess: str | None, read: list[str] | None) -> str:
    if guess is not None or read is None:
        return ""
    if kind == "describe" and picture.kind == "receipt":
        shop = str(picture.facts["shop"])
        return shop if answer.endswith(shop) else ""
    return answer if kind in COPIED else ""


def transcript(read: list[str], rng: np.random.Generator) -> Question:
    """The exercise of repeating all that OCR read: nothing else teaches copying as fast."""
    text = "\n".join(line for line in read if line)
    return Question("transcript", fill("transcript", {}, rng, held_out=False), text, copied=text)


def fill(kind: str, fields: dict[str, str], rng: np.random.Generator, held_out: bool) -> str:
    """One phrasing of the kind with its fields, in the spellings and carelessness of typed questions."""
    template = choose(kind, rng, held_out)
    words = {
        "color": str(rng.choice(["color", "colour"])),
        "image": str(rng.choice(["image", "picture", "scene", "drawing"], p=[0.4, 0.4, 0.12, 0.08])),
        "objects": str(rng.choice(["shapes", "objects", "things"])),
    }
    text = template.format(**{**words, **fields})
    text = text.replace(" a orange", " an orange").replace(" a object", " an object")
    text = text[0].upper() + text[1:]
    style = rng.random()
    if style < 0.07:
        text = text.lower()
    elif style < 0.12:
        text = text.rstrip("?.")
    elif style < 0.16:
        text = str(rng.choice(LEADS)).format(**words) + text
    elif style < 0.19 and kind not in TOLD:
        text += str(rng.choice(ENDS))
    return text


def _chart_makers(picture: Picture, rng: np.random.Generator, read: list[str] | None, wide: bool):
    facts = picture.facts
    values: list[float] = facts["values"]
    labels: list[str] = facts["labels"]
    colours: list[str] = facts["colours"]
    lying = bool(facts["lying"])
    high, low = ("longest", "shortest") if lying else ("tallest", "shortest")
    joined = "\n".join(read or [])
    lettered = all(len(label) == 1 for label in labels) and labels[0] == "A"
    apart = len(set(colours)) == len(colours)

    def bars():
        return "bars", {}, number_word(len(values)), None, ((0, tuple(range(len(values)))),)

    def bar_colour():
        top = rng.random() < 0.6
        i = int(np.argmax(values) if top else np.argmin(values))
        words = [high, "highest", "biggest", "tallest"] if top else [low, "lowest", "smallest"]
        return "bar colour", {"extreme": str(rng.choice(words))}, colours[i], None, ((0, (i,)),)

    def bar_label():
        top = rng.random() < 0.6
        i = int(np.argmax(values) if top else np.argmin(values))
        words = [high, "highest", "biggest"] if top else [low, "lowest", "smallest"]
        fields = {
            "extreme": str(rng.choice(words)),
            "most": str(rng.choice(["highest", "largest"] if top else ["lowest", "smallest"])),
        }
        if lettered or labels[i] in joined:
            return "bar label", fields, labels[i], None, ((0, (i,)),)
        return "bar label", fields, UNKNOWN, str(rng.choice(labels)), ()

    def bar_compare():
        tall = rng.random() < 0.6
        taller = str(rng.choice(["taller", "higher", "bigger", "longer"] if tall else ["shorter", "lower", "smaller"]))
        absent = [c for c in COLOURS if c not in colours]
        if apart and len(values) > 1 and (rng.random() < 0.85 or not absent):
            i, j = (int(k) for k in rng.choice(len(values), 2, replace=False))
            if abs(values[i] - values[j]) < 0.04 * max(values):
                return None
            answer = "yes" if (values[i] > values[j]) == tall else "no"
            return (
                "bar compare",
                {"tint": colours[i], "other": colours[j], "taller": taller},
                answer,
                None,
                ((0, (i,)), (0, (j,))),
            )
        fields = {"tint": str(rng.choice(absent)), "other": str(rng.choice(colours)), "taller": taller}
        return "bar compare", fields, UNKNOWN, str(rng.choice(["yes", "no"])), ()

    def label_compare():
        if len(values) < 2:
            return None
        i, j = (int(k) for k in rng.choice(len(values), 2, replace=False))
        if abs(values[i] - values[j]) < 0.04 * max(values):
            return None
        fields = {"label": labels[i], "other": labels[j], "taller": str(rng.choice(["taller", "higher", "longer"]))}
        answer = "yes" if values[i] > values[j] else "no"
        if lettered or (labels[i] in joined and labels[j] in joined):
            return "label compare", fields, answer, None, ((0, (i,)), (0, (j,)))
        return "label compare", fields, UNKNOWN, str(rng.choice(["yes", "no"])), ()

    def bar_exist():
        there = rng.random() < 0.5
        pool = (
            sorted(set(colours)) if there else [c for c in COLOURS if c not in colours and c not in ("white", "black")]
        )
        tint = str(rng.choice(pool))
        fitting = tuple(i for i, colour in enumerate(colours) if colour == tint)
        return "bar exist", {"tint": tint}, "yes" if there else "no", None, ((0, fitting),)

    def describe():
        way = "horizontal " if lying else ""
        top = int(np.argmax(values))
        text = f"a {way}bar chart with {number_word(len(values))} bars, the {high} one "
        looks = ((0, tuple(range(len(values)))), (len(text), (top,)))
        return "describe", {}, text + colours[top], None, looks

    makers = [
        (2.0, bars),
        (2.0, bar_label),
        (1.0, bar_exist),
        (0.5, describe),
        (0.3, _medium("bar chart")),
    ]
    if wide:
        makers.append((1.5, label_compare))
    if apart:
        makers += [(2.5, bar_colour), (1.5, bar_compare)]
    return makers


def _receipt_makers(picture: Picture, rng: np.random.Generator, read: list[str] | None, wide: bool):
    facts = picture.facts
    lines = read or []

    def copied(value: str) -> str | None:
        """The value if OCR read it; a value that OCR misread is asked for rarely and never learnt wrong."""
        return value if any(value in line for line in lines) else None

    def asked(kind: str, value: str, fields: dict[str, str] | None = None, invent: str | None = None):
        if read is None:
            return kind, fields or {}, UNKNOWN, invent or value, ()
        found = copied(value)
        return None if found is None else (kind, fields or {}, found, None, ())

    def total():
        return asked("total", str(facts["total"]), invent=str(rng.choice(["10.00", "12.50", "25.00", "9.90"])))

    def date():
        return asked("date", str(facts["date"]), invent=str(rng.choice(["12/03/2018", "01/01/2020"])))

    def shop():
        return asked("shop", str(facts["shop"]), invent=str(rng.choice(["City Mart", "Fresh Market", "Golden Store"])))

    def price():
        items: list[tuple[str, str]] = facts["items"]
        name, cost = items[int(rng.integers(len(items)))]
        return asked("price", cost, {"item": name.lower()}, invent="4.50")

    def extra():
        names = {
            "change": "change",
            "tax": "tax",
            "phone": "phone number",
            "time": "time",
            "number": "receipt number",
            "cash": "cash",
        }
        key = str(rng.choice(list(names)))
        if key in facts and read is not None:
            return asked("field", str(facts[key]), {"field": names[key]})
        guess = {"phone": "012-3456789", "time": "12:30", "number": "1001"}.get(key, "1.00")
        return "field", {"field": names[key]}, UNKNOWN, guess, ()

    def exist():
        shape = str(rng.choice(["circle", "triangle", "star", "heart", "red circle", "blue square"]))
        return "exist", {"obj": shape, "plural": shape + "s"}, "no", None, ()

    makers = [
        (3.0, total), (2.2, date), (2.5, shop), (0.15, exist),
        (0.3, _medium("receipt")), (0.2, lambda: ("describe", {}, f"a receipt{_from(facts, read)}", None, ())),
    ]  # fmt: skip
    return [*makers, (1.0, price), (1.2, extra)] if wide else makers


def _from(facts: dict[str, Any], read: list[str] | None) -> str:
    shop = str(facts["shop"])
    return f" from {shop}" if read and any(shop in line for line in read) else ""


def _medium(answer: str):
    return lambda: ("medium", {}, answer, None, ())
