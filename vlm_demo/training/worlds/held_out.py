"""Export: a held-out part of the world as a folder that `python -m vlm_demo evaluate` scores.

Other seeds than training, the two phrasings of each kind that training never saw, and where text is printed a font that
it never saw.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from vlm_demo.training.worlds import areas
from vlm_demo.training.worlds.captions import full
from vlm_demo.training.worlds.document_questions import MONEY
from vlm_demo.training.worlds.pope import pope_items, popular
from vlm_demo.training.worlds.question import Question
from vlm_demo.training.worlds.questions import ask
from vlm_demo.training.worlds.scenes import draw_scene
from vlm_demo.training.worlds.world import DrawnPicture, instance_map

AREAS = (*areas.AREAS, "pointing", "pope")
POINTING_SIZE = (500, 240)


def export(folder: Path, area: str, per_kind: int, seed: int) -> Counter[str]:
    """Write ``folder/img`` and ``folder/items.jsonl``: up to ``per_kind`` questions of each kind.

    Every item holds whether OCR and the evidence-only rule are on. Unanswerable questions are asked with the
    rule on, their right answer is ``unknown`` and their kind ends in ``, absent``; every second of the others
    has the rule. The second turn of a chat has the first one in ``before`` and a kind that ends in ``, follow-up``.

    Raises:
        ValueError: an area that is not in AREAS.
    """
    if area not in AREAS:
        raise ValueError(f"unknown area {area!r}: choose one of {', '.join(AREAS)}")
    (folder / "img").mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    frequent = popular(seed) if area == "pope" else []
    with (folder / "items.jsonl").open("w") as handle:
        for number in tqdm(range(per_kind * 6), desc=area):
            rng = np.random.default_rng([seed, 99, AREAS.index(area), number])
            picture, ocr = _draw(area, rng)
            if area == "pope":
                items = pope_items(picture, rng, frequent)
            else:
                items = pointing_items(picture, rng) if area == "pointing" else _questions(picture, rng, ocr)
            new_items = [item for item in items if counts[item["kind"]] < per_kind]
            if not new_items:
                continue
            name = f"img/{area}-{number:05}.png"
            picture.image.save(folder / name)
            for item in new_items:
                if area == "pointing":
                    item["mask"] = name.replace(".png", "-mask.png")
                    _mask(picture, item["phrase"]).save(folder / item["mask"])
                if counts[item["kind"]] < per_kind:
                    counts[item["kind"]] += 1
                    handle.write(json.dumps({"image": name, **item}) + "\n")
    return counts


def export_world(folder: Path, per_kind: int, seed: int) -> Counter[str]:
    """All areas, each in its folder, and one ``folder/items.jsonl`` over them, area by area."""
    counts: Counter[str] = Counter()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "items.jsonl").open("w") as handle:
        for area in areas.AREAS:
            counts += export(folder / area, area, per_kind, seed)
            for line in (folder / area / "items.jsonl").read_text().splitlines():
                item = json.loads(line)
                handle.write(json.dumps(item | {"image": f"{area}/{item['image']}"}) + "\n")
    return counts


def export_captions(folder: Path, n: int, seed: int) -> Counter[str]:
    """Write ``folder/img`` and ``folder/captions.jsonl``: ``n`` pictures of each area, area by area, with a caption
    and the same with one word changed so that it is false (`captions.py`)."""
    (folder / "img").mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with (folder / "captions.jsonl").open("w") as handle:
        for index, area in enumerate(areas.AREAS):
            number = 0
            while counts[area] < n:
                rng = np.random.default_rng([seed, 97, index, number])
                number += 1
                picture = areas.AREAS[area].draw(rng, True)
                caption = full(picture, rng)
                if caption is None:
                    continue
                name = f"img/{area}-{number:05}.png"
                picture.image.save(folder / name)
                line = {"image": name, "caption": caption.true, "wrong": caption.wrong, "kind": area}
                handle.write(json.dumps(line) + "\n")
                counts[area] += 1
    return counts


def _draw(area: str, rng: np.random.Generator) -> tuple[DrawnPicture, bool]:
    if area in ("pointing", "pope"):
        return draw_scene(rng, POINTING_SIZE if area == "pointing" else None), False
    chosen = areas.AREAS[area]
    return chosen.draw(rng, True), bool(rng.random() < chosen.reads)


def _questions(picture: DrawnPicture, rng: np.random.Generator, ocr: bool) -> list[dict]:
    ocr_lines = list(picture.facts["texts"]) if ocr else None
    items = []
    for i, question in enumerate(ask(picture, 5, rng, ocr_lines, held_out=True)):
        if question.kind == "what" and " and " in question.answer:
            continue  # several things may be named in any order: no single right answer to score
        evidence_only = i % 2 == 0 or question.guess is not None
        items.append(_item(question, question.kind, ocr, evidence_only))
        if question.follow:
            before = [{"question": question.text, "answer": question.answer}]
            evidence_only = evidence_only or question.follow.guess is not None
            follow = _item(question.follow, f"{question.kind}, follow-up", ocr, evidence_only)
            items.append(follow | {"before": before})
    return items


def _item(question: Question, kind: str, ocr: bool, evidence_only: bool) -> dict:
    absent = question.guess is not None
    return {
        "question": question.text,
        "answer": question.answer,
        "kind": kind + (", absent" if absent else ""),
        "metric": "money" if question.kind in MONEY and not absent else "exact",
        "ocr": ocr,
        "evidence_only": evidence_only,
    }


def pointing_items(picture: DrawnPicture, rng: np.random.Generator) -> list[dict]:
    """One pointing item about a random thing of the scene, its boxes those of all things that fit the phrase."""
    things = [t for t in picture.things if t.visible > 0.6]
    if not things or picture.facts["groups"]:
        return []
    chosen = things[int(rng.integers(len(things)))]
    fitting = [t for t in picture.things if (t.shape, t.colour) == (chosen.shape, chosen.colour)]
    phrase = f"{chosen.colour} {chosen.shape}"
    boxes = [[round(v, 1) for v in t.box] for t in fitting]
    item = {"question": "What is in the image?", "answer": phrase, "kind": "pointing", "metric": "exact"}
    return [item | {"phrase": phrase, "boxes": boxes}]


def _mask(picture: DrawnPicture, phrase: str) -> Image.Image:
    """White where a thing that fits the phrase is seen, black elsewhere."""
    width, height = picture.image.size
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    seen = instance_map(picture, side)[top : top + height, left : left + width]
    fitting = [i + 1 for i, thing in enumerate(picture.things) if f"{thing.colour} {thing.shape}" == phrase]
    return Image.fromarray(np.isin(seen, fitting))
