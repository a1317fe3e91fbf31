"""Map panel: the pair of a contrast table that is looked at → its relevancy map, and those of the other texts, as
HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from PIL import Image

from vlm_demo.images import overlay as drawing
from vlm_demo.ui import pictures
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.contrast.contrast_table import ContrastTable, Hidden, alike
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing

if TYPE_CHECKING:
    from vlm_demo.ui.tabs.contrast.contrast_work import ContrastWork

OPACITY, COLOURS = 0.7, "magma"
SMALL = 200  # longest side of a small map, pixels
MARKS = 0.005  # how much more a marked tenth must count than as much elsewhere
ALIKE = 0.8  # a mean correlation of maps from which on they are called alike


def overlay(work: ContrastWork, held: ContrastTable) -> tuple[Image.Image | None, str]:
    """The picture that is looked at under the map of its text, and that text; None where it is not known yet."""
    model, chosen = work.model_of(held), held.chosen
    at = held.chosen_text(model)
    if chosen is None or at is None:
        return None, ""
    text = held.texts[at]
    heat, image = held.heats.get((model, chosen.key, text)), held.images.get(chosen.key)
    return (None if heat is None or image is None else _laid(image, heat)), text


def draw(work: ContrastWork, held: ContrastTable) -> Markup:
    """Where the model finds the chosen text in the chosen picture, and whether that holds when it is hidden."""
    model, chosen = work.model_of(held), held.chosen
    at = held.chosen_text(model)
    if chosen is None or at is None:
        return nothing("Press a figure of the table to see where its text is found in its picture.")
    text = held.texts[at]
    pair = model, chosen.key, text
    score, hidden = held.scores.get(pair), held.hidden.get(pair)
    drawn, _ = overlay(work, held)
    shown = drawn or held.images.get(chosen.key)
    return render(
        "contrast_map",
        name=held.facts[model].name if model in held.facts else model,
        text=text,
        similarity="" if score is None else f"{score.similarity:.3f}",
        number=held.pictures.index(chosen) + 1,
        picture=None if shown is None else pictures.data_uri(shown),
        ratio="1" if shown is None else f"{shown.width / shown.height:.4f}",
        drawn=drawn is not None,
        stops=", ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in drawing.palette(COLOURS)[:: 255 // 5]),
        headline="" if hidden is None else headline(hidden),
        why="" if hidden is None else because(hidden),
        words=[] if score is None else words_of(text, score.similarity, held.without.get(pair, ())),
        problem=held.failed.get(pair) or held.map_problem(pair),
    )


def headline(hidden: Hidden) -> str:
    """What hiding the marked tenth of a picture has shown of its map."""
    if min(hidden.whole, hidden.elsewhere) - hidden.marked >= MARKS:
        return "What is marked counts: without it the text fits less."
    return "What is marked counts no more than the rest of the picture."


def because(hidden: Hidden) -> str:
    """The figures behind the headline."""
    return (
        f"With the marked tenth hidden the similarity goes from {hidden.whole:.3f} to {hidden.marked:.3f}; with as "
        f"much hidden elsewhere, to {hidden.elsewhere:.3f}."
    )


def words_of(text: str, whole: float, without: Sequence[float]) -> list[dict[str, str]]:
    """The words of a text, and what each brings: by how much the cosine falls where it alone is left out.

    Args:
        whole: the cosine of the text.
        without: the cosines without each word; empty = not known.
    """
    if not without:
        return []
    brings = [whole - value for value in without]
    most = max(*brings, MARKS)
    return [
        {"word": word, "brings": f"{brought:+.3f}", "look": f"{max(0.0, brought) / most:.2f}"}
        for word, brought in zip(text.split(), brings, strict=True)
    ]


def others(work: ContrastWork, held: ContrastTable) -> Markup:
    """The other texts' maps over the same picture, small, and whether all look at the same place."""
    model, chosen = work.model_of(held), held.chosen
    at = held.chosen_text(model)
    if chosen is None or at is None or chosen.key not in held.images:
        return Markup()
    image, maps, heats = pictures.shrunk(held.images[chosen.key], SMALL), [], []
    for number, text in held.texts.items():
        pair = model, chosen.key, text
        score, heat = held.scores.get(pair), held.heats.get(pair)
        if score is None or held.map_problem(pair):
            continue
        heats.append(heat)
        if number != at:
            source = pictures.data_uri(image if heat is None else _laid(image, heat))
            shown = {"source": source, "drawn": heat is not None}
            maps.append({"number": number, "text": text, "similarity": f"{score.similarity:.3f}", **shown})
    drawn = [heat for heat in heats if heat is not None]
    told = _alike(alike(drawn)) if len(drawn) == len(heats) else ""
    return render("contrast_others", maps=maps, alike=told, ratio=f"{image.width / image.height:.4f}")


def _laid(image: Image.Image, heat: np.ndarray) -> Image.Image:
    spread = np.asarray(Image.fromarray(heat).resize(image.size, Image.Resampling.BILINEAR))
    return drawing.overlay(image, spread, OPACITY, COLOURS)


def _alike(near: float | None) -> str:
    if near is None:
        return ""
    said = "It looks at much the same place for every text" if near >= ALIKE else "The texts draw its look apart"
    return f"{said}: two maps correlate by {near:.2f} on average."
