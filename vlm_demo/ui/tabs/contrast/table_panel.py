"""Table panel: a contrast table and its results → HTML. Computes what its template shows; calls no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from vlm_demo.ui.components.header import short
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.contrast.contrast_table import (
    CHAT,
    EXAMPLE,
    LONGEST,
    MOST_PICTURES,
    MOST_TEXTS,
    ContrastTable,
    Picture,
    disagreement,
    softmax,
)
from vlm_demo.ui.tabs.inspect.panels.html_pieces import lasted

if TYPE_CHECKING:
    from vlm_demo.ui.tabs.contrast.contrast_work import ContrastWork

SCALE = (0.001, 1.0)  # temperatures at the slider's ends


@dataclass(frozen=True)
class Figures:
    """A table's results, as shown.

    Attributes:
        similarities: (text's number, picture's key) → cosine.
        chances: likewise, the softmax over the picture's texts.
        matches: text's number → probability that it matches the selected picture.
        best, agreed: the likeliest text of that picture, by ITC and by ITM.
    """

    similarities: dict[tuple[int, str], float]
    chances: dict[tuple[int, str], float]
    matches: dict[int, float]
    best: int | None
    agreed: int | None


def draw(work: ContrastWork, table: ContrastTable) -> Markup:
    """Texts × pictures: each pair's similarity, then probability and ITM of the selected picture."""
    model, judge = work.model_of(table), work.judge_of(table)
    chosen, facts = table.chosen, table.facts.get(model)
    figures = figures_of(table, model, judge)
    rows = [_row(table, model, figures, number) for number in table.texts]
    unread = next((cell["failed"] for row in rows for cell in row["cells"] if cell["failed"]), "")
    return render(
        "contrast",
        rows=rows,
        pictures=[
            {"key": picture.key, "thumbnail": picture.thumbnail, "number": index + 1, "chosen": picture is chosen}
            for index, picture in enumerate(table.pictures)
        ],
        origin=_origin_text(table.pictures),
        models=[(name, _called(work, table, name)) for name in work.models()],
        model=model,
        name=work.called(table, model),
        judge=work.called(table, judge),
        temperature=f"{facts.temperature:.6g}" if facts else "",
        temperature_shown=f"{facts.temperature:.{3 if facts.temperature >= 0.01 else 4}f}" if facts else "",
        tick=f"{place_of(facts.temperature):.2f}" if facts else "0",
        scale=SCALE,
        room_for_pictures=len(table.uploaded) < MOST_PICTURES,
        room_for_texts=len(table.texts) < MOST_TEXTS,
        longest=LONGEST,
        doing=table.doing,
        fraction="" if table.fraction is None else f"{table.fraction:.3f}",
        problem=table.problem or unread,
        notes=_notes(work, table, figures, model, judge),
    )


def figures_of(table: ContrastTable, model: str, judge: str) -> Figures:
    """A table's results so far, of the ITC model and of the ITM model ``judge`` (empty = none)."""
    similar, chances, matches = dict[tuple[int, str], float](), dict[tuple[int, str], float](), dict[int, float]()
    facts, chosen = table.facts.get(model), table.chosen
    for picture in table.pictures:
        known = {number: table.score(model, picture, text) for number, text in table.texts.items()}
        found = {number: score.similarity for number, score in known.items() if score}
        similar |= {(number, picture.key): value for number, value in found.items()}
        if facts and found:
            spread = softmax(list(found.values()), facts.temperature)
            chances |= {(number, picture.key): chance for number, chance in zip(found, spread, strict=True)}
    for number, text in table.texts.items():
        score = table.score(judge, chosen, text) if judge and chosen else None
        if score and score.match is not None:
            matches[number] = score.match
    of_chosen = {number: chance for (number, key), chance in chances.items() if chosen and key == chosen.key}
    best = max(of_chosen, key=of_chosen.__getitem__, default=None)
    return Figures(similar, chances, matches, best, max(matches, key=matches.__getitem__, default=None))


def place_of(temperature: float) -> float:
    """The position of a temperature on the slider, 0..100, on a logarithmic scale."""
    low, high = np.log10(SCALE)
    return float(np.clip(100 * (np.log10(temperature) - low) / (high - low), 0, 100))


def _row(table: ContrastTable, model: str, figures: Figures, number: int) -> dict[str, Any]:
    """One text with its figures, under the template's names."""
    chosen, at, known = table.chosen, table.chosen_text(model), figures.similarities
    low, high = (min(known.values()), max(known.values())) if known else (0.0, 0.0)
    cells = []
    for picture in table.pictures:
        similarity = known.get((number, picture.key))
        cells.append(
            {
                "picture": picture.key,
                "similarity": "" if similarity is None else f"{similarity:.3f}",
                "exact": "" if similarity is None else f"{similarity:.6f}",
                "tint": "0" if similarity is None else f"{(similarity - low) / max(high - low, 1e-6):.3f}",
                "chance": _percent(figures.chances.get((number, picture.key))),
                "pressed": picture is chosen and number == at,
                "failed": table.failed.get((model, picture.key, table.texts[number]), ""),
            }
        )
    chance = figures.chances.get((number, chosen.key)) if chosen else None
    match = figures.matches.get(number)
    return {
        "number": number,
        "text": table.texts[number],
        "cells": cells,
        "chosen": number == at,
        "chance": _percent(chance),
        "width": f"{100 * (chance or 0):.2f}",
        "wins": number == figures.best,
        "match": "" if match is None else f"{match:.2f}",
        "match_width": f"{100 * (match or 0):.1f}",
        "agreed": number == figures.agreed,
    }


def _origin_text(shown: list[Picture]) -> str:
    """Where the pictures come from."""
    origins = {picture.origin for picture in shown}
    if not shown:
        return "Add a picture, or ask about one in Chat: it lies here then."
    if origins == {EXAMPLE}:
        return "Examples, until you add a picture or ask about one in Chat."
    if origins == {CHAT}:
        return "The pictures of your chat." if len(shown) > 1 else "The picture of your chat."
    return "The pictures of your chat, then those added here." if CHAT in origins else "The pictures added here."


def _called(work: ContrastWork, table: ContrastTable, model: str) -> str:
    """A model's name and size, as far as known."""
    name, facts = work.called(table, model), table.facts.get(model)
    return f"{name}, {short(facts.parameters)}" if facts and facts.parameters else name


def _notes(work: ContrastWork, table: ContrastTable, figures: Figures, model: str, judge: str) -> list[dict[str, Any]]:
    """What each column is, by which model, what it cost, and where ITC and ITM disagree."""
    facts, chosen = table.facts.get(model), table.chosen
    if facts is None or chosen is None:
        return []
    text = (
        "Picture and text become one vector each; the table holds their cosines. The last picture with its texts took "
        f"{lasted(facts.picture_seconds)}."
    )
    numbers = [index + 1 for index, picture in enumerate(table.pictures) if (model, picture.key) in table.outside]
    notes = [_note(f"ITC · {_called(work, table, model)}", text, _known(work, model, numbers))]
    if judge:
        by = table.facts.get(judge)
        each = f" {lasted(by.pair_seconds)} a pair, so for this picture only." if by and by.pair_seconds else ""
        odd = [table.pictures.index(chosen) + 1] if (judge, chosen.key) in table.outside else []
        notes.append(
            _note(
                f"ITM · {_called(work, table, judge)}",
                f"Picture and text are read together and judged yes or no.{each}",
                "" if judge == model else _known(work, judge, odd),
                None if judge == model else ("none", "Take this column away"),
            )
        )
    else:
        able = [name for name, both in work.models().items() if both]
        text = f"{facts.name} has no head that reads picture and text together, so it says of no pair yes or no."
        offer = (able[0], f"Ask {able[0]} for it") if able else None
        notes.append(_note("No ITM", text, offer=offer))
    part = _disagreement(table, figures, chosen)
    return [*notes, _note("Where they part", part)] if part else notes


def _note(title: str, text: str, more: str = "", offer: tuple[str, str] | None = None) -> dict[str, Any]:
    """One column of the table's foot; ``offer``: the model whose ITM a press requests, and the button's label."""
    return {"title": title, "text": text, "more": more, "judge": offer}


def _known(work: ContrastWork, model: str, odd: list[int]) -> str:
    """What a model is good at, and the numbers of its out-of-distribution pictures."""
    good_at = work.good_at(model)
    sentences = [f"Good at: {good_at}."] if good_at else []
    if odd:
        subject = f"Pictures {', '.join(map(str, odd))} are" if len(odd) > 1 else f"Picture {odd[0]} is"
        sentences.append(f"{subject} unlike what it was trained on: take what it says there as a guess.")
    return " ".join(sentences)


def _disagreement(table: ContrastTable, figures: Figures, chosen: Picture) -> str:
    similar = {number: value for (number, key), value in figures.similarities.items() if key == chosen.key}
    numbers, match = [number for number in similar if number in figures.matches], figures.matches
    found = disagreement([similar[number] for number in numbers], [match[number] for number in numbers])
    if found is None:
        return ""
    first, other = (numbers[place] for place in found)
    return (
        f"ITC finds “{table.texts[first]}” nearer than “{table.texts[other]}” "
        f"({similar[first]:.3f} to {similar[other]:.3f}); ITM, reading picture and text together, the other way round "
        f"({match[first]:.2f} to {match[other]:.2f})."
    )


def _percent(chance: float | None) -> str:
    return "" if chance is None else f"{100 * chance:.1f}%"
