"""Chart questions: what can be asked of a bar chart."""

from __future__ import annotations

import numpy as np

from vlm_demo.synthetic.asking import Made, Maker, Makers
from vlm_demo.synthetic.world import COLOURS, UNKNOWN, Picture, number_word


def makers(picture: Picture, rng: np.random.Generator, read: list[str] | None) -> Makers:
    """What can be asked of a bar chart; a label that OCR must read is copied from ``read``."""
    facts = picture.facts
    values: list[float] = facts["values"]
    labels: list[str] = facts["labels"]
    colours: list[str] = facts["colours"]
    lying = bool(facts["lying"])
    high, low = ("longest", "shortest") if lying else ("tallest", "shortest")
    joined = "\n".join(read or [])
    lettered = all(len(label) == 1 for label in labels) and labels[0] == "A"
    apart = len(set(colours)) == len(colours)
    every = tuple(range(len(values)))

    def bars():
        return Made("bars", {}, number_word(len(values)), None, ((0, tuple(range(len(values)))),))

    def bar_colour():
        top = rng.random() < 0.6
        i = int(np.argmax(values) if top else np.argmin(values))
        words = [high, "highest", "biggest", "tallest"] if top else [low, "lowest", "smallest"]
        return Made("bar colour", {"extreme": str(rng.choice(words))}, colours[i], None, ((0, (i,)),), every)

    def bar_label():
        top = rng.random() < 0.6
        i = int(np.argmax(values) if top else np.argmin(values))
        words = [high, "highest", "biggest"] if top else [low, "lowest", "smallest"]
        fields = {
            "extreme": str(rng.choice(words)),
            "most": str(rng.choice(["highest", "largest"] if top else ["lowest", "smallest"])),
        }
        if lettered or labels[i] in joined:
            copied = labels[i] if labels[i] in joined else ""
            return Made("bar label", fields, labels[i], None, ((0, (i,)),), every, copied)
        return Made("bar label", fields, UNKNOWN, str(rng.choice(labels)), ())

    def bar_compare():
        tall = rng.random() < 0.6
        taller = str(rng.choice(["taller", "higher", "bigger", "longer"] if tall else ["shorter", "lower", "smaller"]))
        absent = [c for c in COLOURS if c not in colours]
        if apart and len(values) > 1 and (rng.random() < 0.85 or not absent):
            i, j = (int(k) for k in rng.choice(len(values), 2, replace=False))
            if abs(values[i] - values[j]) < 0.04 * max(values):
                return None
            answer = "yes" if (values[i] > values[j]) == tall else "no"
            fields = {"tint": colours[i], "other": colours[j], "taller": taller}
            return Made("bar compare", fields, answer, None, ((0, (i,)), (0, (j,))))
        fields = {"tint": str(rng.choice(absent)), "other": str(rng.choice(colours)), "taller": taller}
        return Made("bar compare", fields, UNKNOWN, str(rng.choice(["yes", "no"])), ())

    def label_compare():
        if len(values) < 2:
            return None
        i, j = (int(k) for k in rng.choice(len(values), 2, replace=False))
        if abs(values[i] - values[j]) < 0.04 * max(values):
            return None
        fields = {"label": labels[i], "other": labels[j], "taller": str(rng.choice(["taller", "higher", "longer"]))}
        answer = "yes" if values[i] > values[j] else "no"
        if lettered or (labels[i] in joined and labels[j] in joined):
            return Made("label compare", fields, answer, None, ((0, (i,)), (0, (j,))))
        return Made("label compare", fields, UNKNOWN, str(rng.choice(["yes", "no"])), ())

    def bar_exist():
        there = rng.random() < 0.5
        pool = (
            sorted(set(colours)) if there else [c for c in COLOURS if c not in colours and c not in ("white", "black")]
        )
        tint = str(rng.choice(pool))
        fitting = tuple(i for i, colour in enumerate(colours) if colour == tint)
        return Made("bar exist", {"tint": tint}, "yes" if there else "no", None, ((0, fitting),))

    def describe():
        way = "horizontal " if lying else ""
        top = int(np.argmax(values))
        text = f"a {way}bar chart with {number_word(len(values))} bars, the {high} one "
        looks = ((0, tuple(range(len(values)))), (len(text), (top,)))
        return Made("describe", {}, text + colours[top], None, looks)

    found: list[tuple[float, Maker]] = [
        (2.0, bars),
        (2.0, bar_label),
        (1.0, bar_exist),
        (0.5, describe),
        (1.5, label_compare),
        (0.3, lambda: Made("medium", {}, "bar chart")),
    ]
    if apart:
        found += [(2.5, bar_colour), (1.5, bar_compare)]
    return found
