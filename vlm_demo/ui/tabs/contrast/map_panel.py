"""Map panel: the selected pair of a contrast table → its relevancy map, and those of the other texts, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from PIL import Image

from vlm_demo.images import overlay as drawing
from vlm_demo.ui import pictures
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.contrast.contrast_table import ContrastTable, Hidden, mean_correlation
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing

if TYPE_CHECKING:
    from vlm_demo.ui.tabs.contrast.contrast_work import ContrastWork

OPACITY, COLOURS = 0.7, "magma"
SMALL = 200  # longest side of a small map, pixels
MARKS = 0.005  # by how much more the cosine must fall without the top tenth than without as much elsewhere
ALIKE = 0.8  # a mean correlation of maps from which on they are called alike


def overlay(work: ContrastWork, table: ContrastTable) -> tuple[Image.Image | None, str]:
    """The selected picture under the map of the selected text, and that text; None where not computed yet."""
    model, chosen = work.model_of(table), table.chosen
    at = table.chosen_text(model)
    if chosen is None or at is None:
        return None, ""
    text = table.texts[at]
    heat, image = table.heats.get((model, chosen.key, text)), table.images.get(chosen.key)
    return (None if heat is None or image is None else _overlaid(image, heat)), text


def draw(work: ContrastWork, table: ContrastTable) -> Markup:
    """The map of the selected text over the selected picture, and how the similarity changes when its top is hidden."""
    model, chosen = work.model_of(table), table.chosen
    at = table.chosen_text(model)
    if chosen is None or at is None:
        return nothing("Press a figure of the table to see where its text is found in its picture.")
    text = table.texts[at]
    pair = model, chosen.key, text
    score, hidden = table.scores.get(pair), table.hidden.get(pair)
    drawn, _ = overlay(work, table)
    shown = drawn or table.images.get(chosen.key)
    return render(
        "contrast_map",
        name=work.called(table, model),
        text=text,
        similarity="" if score is None else f"{score.similarity:.3f}",
        number=table.pictures.index(chosen) + 1,
        picture=None if shown is None else pictures.data_uri(shown),
        ratio="1" if shown is None else f"{shown.width / shown.height:.4f}",
        drawn=drawn is not None,
        stops=", ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in drawing.palette(COLOURS)[:: 255 // 5]),
        headline="" if hidden is None else headline(hidden),
        why="" if hidden is None else because(hidden),
        words=[] if score is None else words_of(text, score.similarity, table.leave_one_out.get(pair, ())),
        problem=table.failed.get(pair) or table.map_problem(pair),
    )


def headline(hidden: Hidden) -> str:
    """What hiding the top tenth of a picture shows about its map."""
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
    """The words of a text, and by how much the cosine falls where each alone is left out.

    Args:
        whole: the cosine of the text.
        without: the cosines without each word; empty = not known.
    """
    if not without:
        return []
    drops = [whole - value for value in without]
    most = max(*drops, MARKS)
    return [
        {"word": word, "drop": f"{drop:+.3f}", "look": f"{max(0.0, drop) / most:.2f}"}
        for word, drop in zip(text.split(), drops, strict=True)
    ]


def others(work: ContrastWork, table: ContrastTable) -> Markup:
    """The other texts' maps over the same picture, small, and whether they are alike."""
    model, chosen = work.model_of(table), table.chosen
    at = table.chosen_text(model)
    if chosen is None or at is None or chosen.key not in table.images:
        return Markup()
    image, maps, heats = pictures.shrunk(table.images[chosen.key], SMALL), [], []
    for number, text in table.texts.items():
        pair = model, chosen.key, text
        score, heat = table.scores.get(pair), table.heats.get(pair)
        if score is None or table.map_problem(pair):
            continue
        heats.append(heat)
        if number != at:
            source = pictures.data_uri(image if heat is None else _overlaid(image, heat))
            shown = {"source": source, "drawn": heat is not None}
            maps.append({"number": number, "text": text, "similarity": f"{score.similarity:.3f}", **shown})
    drawn = [heat for heat in heats if heat is not None]
    summary = _correlation_text(mean_correlation(drawn)) if len(drawn) == len(heats) else ""
    return render("contrast_others", maps=maps, alike=summary, ratio=f"{image.width / image.height:.4f}")


def _overlaid(image: Image.Image, heat: np.ndarray) -> Image.Image:
    spread = np.asarray(Image.fromarray(heat).resize(image.size, Image.Resampling.BILINEAR))
    return drawing.overlay(image, spread, OPACITY, COLOURS)


def _correlation_text(correlation: float | None) -> str:
    if correlation is None:
        return ""
    summary = (
        "It looks at much the same place for every text" if correlation >= ALIKE else "The texts draw its look apart"
    )
    return f"{summary}: two maps correlate by {correlation:.2f} on average."
