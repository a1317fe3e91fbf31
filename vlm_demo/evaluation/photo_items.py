"""Photo items: the held-out part of folders of photographs → a folder that `evaluate` scores.

A photo folder holds img/ and annotations.jsonl, a line a picture: `image` and any of `captions`, `qa`
([[question, answer], ...]), `labels` ({name: value}) and `boxes` ([[label, x, y, w, h], ...], fractions of the
picture). Which pictures are held out is decided by `training.photos_split`, by their names.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation.answers import name as mentions
from vlm_demo.evaluation.items import UNKNOWN
from vlm_demo.evaluation.photo_names import UNCOUNTED, accepted, is_there, plural, readable
from vlm_demo.images.formats import formats
from vlm_demo.training.photos_split import PERCENT, held_out

LINES = "annotations.jsonl"
VQA = ("coco_train", "coco_val2017_people")
PRESENCE = "coco_val2017_people"  # every instance of 80 things is boxed, so what is absent is known
COUNTED = ("voc2007", "coco_val2017_people")
CROWDS = {("coco_val2017_people", "person")}  # a crowd is one box there
SORTS = ("random", "popular", "adversarial")
MOST = 6  # things to be counted
PLAUSIBLE = 5  # absent things, the most popular or the most adversarial, that one is drawn from
SMALLEST = 0.005  # of the picture's area: what is smaller can hardly be seen at 240 pixels, and is not asked about
MOST_POINTED = 0.4  # of the picture's area, all boxes of the thing together
STYLE = "Is this a photo, a painting, a cartoon or a sketch?"

T = TypeVar("T")
Item = dict[str, Any]  # a line of items.jsonl, without its picture and kind


@dataclass(frozen=True)
class Photo:
    """A picture; ``folder`` and ``image`` name it as its annotations.jsonl does, ``facts`` is its line there."""

    folder: str
    image: str
    facts: dict[str, Any]

    @property
    def copied(self) -> str:
        """Where its copy lies in the folder of items."""
        return f"img/{self.folder}-{Path(self.image).name}"

    def label(self, name: str) -> str:
        return readable(str(self.facts["labels"][name]))

    @property
    def things(self) -> dict[str, list[float]]:
        """For each readable name of what is boxed, the areas of the boxes, as fractions of the picture."""
        found: dict[str, list[float]] = defaultdict(list)
        for label, _x, _y, width, height in self.facts.get("boxes", []):
            found[readable(label)].append(width * height)
        return dict(found)


@dataclass
class Photos:
    """The folders under ``root``; each is read once."""

    root: Path
    lines: dict[str, list[Photo]] = field(default_factory=dict)

    def all_photos(self, folder: str) -> list[Photo]:
        """All pictures of a folder, held out or not; none if there is no such folder."""
        if folder not in self.lines:
            file = self.root / folder / LINES
            text = file.read_text(encoding="utf-8") if file.is_file() else ""
            facts = [json.loads(line) for line in text.splitlines() if line.strip()]
            self.lines[folder] = [Photo(folder, one["image"], one) for one in facts]
        return self.lines[folder]

    def held_out_photos(self, *folders: str) -> list[Photo]:
        """The held-out pictures of some folders."""
        return [photo for folder in folders for photo in self.all_photos(folder) if held_out(folder, photo.image)]


Items = Iterator[tuple[Photo, Item]]


def make(photos: Path, folder: Path, per_kind: int, seed: int, kinds: Iterable[str] | None = None) -> Counter[str]:
    """Write ``folder/img`` and ``folder/items.jsonl`` with up to ``per_kind`` items of each kind, and count them.

    Args:
        photos: holds the folders of photographs; those that are missing leave their kinds out.
        seed: the same one gives the same items.
        kinds: keys of KINDS; None = all.
    Raises:
        VlmDemoError: no folder of photographs is there, or a kind is unknown.
    """
    chosen_kinds = list(KINDS) if kinds is None else list(kinds)
    if unknown := [kind for kind in chosen_kinds if kind not in KINDS]:
        raise VlmDemoError(f"There are no items of the kind {unknown[0]}; known are {', '.join(KINDS)}.")
    if not any((photos / name / LINES).is_file() for name in PERCENT):
        raise VlmDemoError(
            f"{photos} holds no folder of photographs; give one that holds some of {', '.join(PERCENT)}."
        )
    (folder / "img").mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    source = Photos(photos)
    with (folder / "items.jsonl").open("w", encoding="utf-8") as handle:
        for kind in chosen_kinds:
            for photo, item in islice(KINDS[kind](source, f"{seed} {kind}"), per_kind):
                copy = folder / photo.copied
                if not copy.exists():
                    shutil.copyfile(photos / photo.folder / photo.image, copy)
                handle.write(json.dumps({"image": photo.copied, "kind": kind, **item}, ensure_ascii=False) + "\n")
                counts[kind] += 1
    return counts


def captions(photos: Photos, seed: str, folders: tuple[str, ...]) -> Items:
    """Describe the picture: scored by all of its captions."""
    for photo in _shuffled(photos.held_out_photos(*folders), seed):
        if photo.facts.get("captions"):
            yield photo, {"question": "Describe the picture.", "captions": photo.facts["captions"]}


def vqa(photos: Photos, seed: str) -> Items:
    """Questions that people asked, first one of every picture; not those that begin with "True or false"."""
    numbered = []
    for photo in photos.held_out_photos(*VQA):
        pairs = [pair for pair in photo.facts.get("qa", []) if not pair[0].lower().startswith("true or false")]
        numbered += [(turn, photo, pair) for turn, pair in enumerate(pairs)]
    for _, photo, (question, answer) in sorted(_shuffled(numbered, seed), key=lambda triple: triple[0]):
        yield photo, {"question": question, "answer": answer, "metric": "vqa"}


def presence(photos: Photos, seed: str, sort: str) -> Items:
    """Is it there? After POPE (Li et al. 2023, https://arxiv.org/abs/2305.10355, section 4): in pairs about a picture,
    one about a thing that is there and one about a thing that is not.

    The absent thing is drawn from all, from the most frequent ones of all pictures, or from those that are most likely
    to occur with what is there: by the sum over the things there of the share of their pictures that hold it too. The
    pictures and what is there are the same for all of SORTS. What most pictures hold, here people, is never asked
    about: yes would be right without looking.
    """
    all_photos, shared_seed = photos.all_photos(PRESENCE), seed.removesuffix(sort)
    frequent = Counter(name for photo in all_photos for name in photo.things)
    too_frequent = {name for name, times in frequent.items() if 2 * times > len(all_photos)}
    co_occurring: dict[str, Counter[str]] = defaultdict(Counter)
    for photo in all_photos:
        for name in photo.things:
            co_occurring[name].update(other for other in photo.things if other != name)

    def absent(photo: Photo) -> list[str]:
        names = [name for name in sorted(frequent) if name not in too_frequent and not _is_named(photo, name)]
        names = _shuffled(names, f"{seed} {photo.image}")
        if sort == "popular":
            names.sort(key=lambda name: -frequent[name])
        if sort == "adversarial":
            names.sort(
                key=lambda name: -sum(co_occurring[present][name] / frequent[present] for present in photo.things)
            )
        if sort != "random":
            names = _shuffled(names[:PLAUSIBLE], f"{seed} {photo.image}")
        return names

    turns = []
    for photo in _shuffled(photos.held_out_photos(PRESENCE), shared_seed):
        clear = {name for name, areas in photo.things.items() if max(areas) >= SMALLEST} - too_frequent
        pairs = zip(_shuffled(sorted(clear), f"{shared_seed} {photo.image}"), absent(photo), strict=False)
        turns += [(turn, photo, pair) for turn, pair in enumerate(pairs)]
    for _, photo, pair in sorted(turns, key=lambda triple: triple[0]):
        for name, answer in zip(pair, ("yes", "no"), strict=True):
            yield photo, {"question": is_there(name), "answer": answer, "metric": "exact"}


def absent(photos: Photos, seed: str) -> Items:
    """What can't be known: the color or the place of a thing that is not there."""
    names = sorted({name for photo in photos.all_photos(PRESENCE) for name in photo.things} - set(UNCOUNTED))
    for i, photo in enumerate(_shuffled(photos.held_out_photos(PRESENCE), seed)):
        absent_names = [name for name in _shuffled(names, f"{seed} {photo.image}") if not _is_named(photo, name)]
        question = ("What color is the {}?", "Where is the {}?", "What is next to the {}?")[i % 3].format(
            absent_names[0]
        )
        yield photo, {"question": question, "answer": UNKNOWN, "metric": "exact"}


def name(photos: Photos, seed: str) -> Items:
    """What is this? An object of caltech101, or a fruit, vegetable or carton of grocery."""
    for photo in _shuffled(photos.held_out_photos("caltech101", "grocery"), seed):
        label_name, synonyms = (
            ("object", []) if photo.folder == "caltech101" else ("kind", [photo.label("item").lower()])
        )
        yield photo, {"question": "What is this?", **_named(photo.label(label_name).lower(), synonyms)}


def action(photos: Photos, seed: str) -> Items:
    """What is the person doing?"""
    for photo in _shuffled(photos.held_out_photos("stanford40"), seed):
        yield photo, {"question": "What is the person doing?", **_named(photo.label("action"))}


def count(photos: Photos, seed: str) -> Items:
    """How many are there? One to MOST things, each of which can be seen; the numbers in turn while they last."""
    by_number: dict[int, list[tuple[Photo, str]]] = defaultdict(list)
    for photo in photos.held_out_photos(*COUNTED):
        for thing, areas in sorted(photo.things.items()):
            excluded = min(areas) < SMALLEST or thing in UNCOUNTED or (photo.folder, thing) in CROWDS
            if len(areas) <= MOST and not excluded:
                by_number[len(areas)].append((photo, thing))
    turns = [
        (turn, number, *one)
        for number, photo_things in by_number.items()
        for turn, one in enumerate(_shuffled(photo_things, f"{seed} {number}"))
    ]
    for _, number, photo, thing in sorted(turns, key=lambda one: one[:2]):
        question = f"How many {plural(thing)} are there?"
        yield photo, {"question": question, "answer": str(number), "metric": "exact"}


def style(photos: Photos, seed: str) -> Items:
    """A photo, a painting, a cartoon or a sketch; a reply that names them all is wrong."""
    for photo in _shuffled(photos.held_out_photos("pacs"), seed):
        yield photo, {"question": STYLE, **_named(photo.label("style")), "metric": "vqa"}


def garment(photos: Photos, seed: str) -> Items:
    """What garment is this?"""
    for photo in _shuffled(photos.held_out_photos("clothing"), seed):
        yield photo, {"question": "What garment is this?", **_named(photo.label("garment"))}


def chartqa(photos: Photos, seed: str) -> Items:
    """Questions about real charts, asked with OCR."""
    for photo in _shuffled(photos.held_out_photos("chartqa"), seed):
        for question, answer in photo.facts.get("qa", []):
            yield photo, {"question": question, "answer": answer, "metric": "relaxed", "ocr": True}


def pointing(photos: Photos, seed: str, folder: str) -> Items:
    """Where is it? A named thing and its boxes in pixels, for heatmaps; a thing that fills the picture is
    left out."""
    for photo in _shuffled(photos.held_out_photos(folder), seed):
        with Image.open(photos.root / photo.folder / photo.image, formats=formats()) as picture:
            width, height = picture.size
        for thing, areas in sorted(photo.things.items()):
            if SMALLEST * 4 <= sum(areas) <= MOST_POINTED:
                boxes = [
                    [x * width, y * height, (x + w) * width, (y + h) * height]
                    for label, x, y, w, h in photo.facts["boxes"]
                    if readable(label) == thing
                ]
                item = {"question": "What is in the picture?", "answer": thing, "metric": "exact"}
                yield photo, item | {"phrase": thing, "boxes": [[round(edge, 1) for edge in box] for box in boxes]}


KINDS: dict[str, Callable[[Photos, str], Items]] = {
    "captions-flickr": partial(captions, folders=("flickr8k", "flickr8k_rest")),
    "captions-coco": partial(captions, folders=("coco_val2017_people",)),
    "vqa": vqa,
    **{f"presence-{sort}": partial(presence, sort=sort) for sort in SORTS},
    "absent": absent,
    "name": name,
    "action": action,
    "count": count,
    "style": style,
    "garment": garment,
    "chartqa": chartqa,
    "pointing": partial(pointing, folder="voc2007"),
    "pointing-coco": partial(pointing, folder="coco_val2017_people"),
}


def _named(word: str, synonyms: Iterable[str] = ()) -> Item:
    others = [other for other in (*synonyms, *accepted(word)) if other != word]
    return {"answer": word, "metric": "name", **({"accepted": others} if others else {})}


def _is_named(photo: Photo, thing: str) -> bool:
    """Whether a thing is boxed in a picture, or its captions or questions mention it, even by its last word alone:
    a "table" may be a dining table."""
    texts = (*photo.facts.get("captions", ()), *(" ".join(pair) for pair in photo.facts.get("qa", ())))
    word = thing.split()[-1].lower()
    return thing in photo.things or any(word in text.lower() and mentions(text, word) for text in texts)


def _shuffled(elements: Iterable[T], seed: str) -> list[T]:
    """In an order that depends on the seed and the elements alone."""
    shuffled = list(elements)
    random.Random(seed).shuffle(shuffled)
    return shuffled
