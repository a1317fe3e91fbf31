"""Prompts that were broken in the ways in which processors break them; each takes a sound one with a picture in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from vlm_demo.contracts import Prompt, Segment

OTHER = 20  # an ordinary token


def rebuilt(prompt: Prompt, ids: Sequence[int], places: Sequence[int], lengths: Sequence[int]) -> Prompt:
    """The prompt with other ids; ``lengths`` are those of its segments."""
    segments, at = [], 0
    for segment, length in zip(prompt.segments, lengths, strict=True):
        segments.append(Segment(segment.kind, segment.text, at, at + length))
        at += length
    assert at == len(ids)
    return replace(
        prompt, ids=tuple(ids), image_tokens=len(places), image_positions=tuple(places), segments=tuple(segments)
    )


def _run(prompt: Prompt) -> int:
    return next(i for i, segment in enumerate(prompt.segments) if segment.kind == "image")


def _lengths(prompt: Prompt) -> list[int]:
    return [segment.stop - segment.start for segment in prompt.segments]


def missing(prompt: Prompt) -> Prompt:
    """One placeholder is left out."""
    at, lengths = prompt.image_positions[0], _lengths(prompt)
    lengths[_run(prompt)] -= 1
    places = [place - 1 for place in prompt.image_positions[1:]]
    return rebuilt(prompt, (*prompt.ids[:at], *prompt.ids[at + 1 :]), places, lengths)


def one_too_many(prompt: Prompt) -> Prompt:
    """One placeholder is written twice."""
    at, lengths = prompt.image_positions[0], _lengths(prompt)
    lengths[_run(prompt)] += 1
    places = [at, *(place + 1 for place in prompt.image_positions)]
    return rebuilt(prompt, (*prompt.ids[:at], prompt.ids[at], *prompt.ids[at:]), places, lengths)


def wrong_id(prompt: Prompt) -> Prompt:
    """All placeholders are another token."""
    held = set(prompt.image_positions)
    ids = [OTHER if at in held else token for at, token in enumerate(prompt.ids)]
    return replace(prompt, ids=tuple(ids))


def cut_inside(prompt: Prompt) -> Prompt:
    """The tokenizer's limit lies at the last placeholder."""
    return cut_at(prompt, prompt.image_positions[-1])


def cut_behind(prompt: Prompt) -> Prompt:
    """The pictures are whole; of what follows them nothing is left."""
    return cut_at(prompt, max(segment.stop for segment in prompt.segments if segment.kind == "image"))


def cut_at(prompt: Prompt, length: int) -> Prompt:
    """Only the first ``length`` tokens, and the segments of those."""
    kept = [segment for segment in prompt.segments if segment.start < length]
    return replace(
        prompt,
        ids=prompt.ids[:length],
        image_tokens=sum(place < length for place in prompt.image_positions),
        image_positions=tuple(place for place in prompt.image_positions if place < length),
        segments=tuple(replace(segment, stop=min(segment.stop, length)) for segment in kept),
    )


def in_the_question(prompt: Prompt) -> Prompt:
    """A placeholder stands in the question, where it was typed."""
    question = next(i for i, segment in enumerate(prompt.segments) if segment.kind == "question")
    at, lengths = prompt.segments[question].stop, _lengths(prompt)
    lengths[question] += 1
    token = prompt.ids[prompt.image_positions[0]]
    places = sorted([*(place + (place >= at) for place in prompt.image_positions), at])
    return rebuilt(prompt, (*prompt.ids[:at], token, *prompt.ids[at:]), places, lengths)


def no_place(prompt: Prompt) -> Prompt:
    """The template wrote nothing for the picture."""
    run, lengths = _run(prompt), _lengths(prompt)
    segment = prompt.segments[run]
    inside = range(segment.start, segment.stop)
    ids = [token for at, token in enumerate(prompt.ids) if at not in inside]
    del lengths[run]
    left = replace(prompt, segments=tuple(segment for i, segment in enumerate(prompt.segments) if i != run))
    text = "".join(segment.text for segment in left.segments)
    return replace(rebuilt(left, ids, (), lengths), text=text)


# Way → what breaks it so, and words of the sentence that must name it.
WAYS: dict[str, tuple[Callable[[Prompt], Prompt], str]] = {
    "missing": (missing, "of picture 1 is missing"),
    "one too many": (one_too_many, "of picture 1 is too many"),
    "wrong id": (wrong_id, f"hold the token {OTHER}"),
    "cut inside": (cut_inside, "was cut at token"),
    "cut behind": (cut_behind, "before its end"),
    "in the question": (in_the_question, "outside the places"),
    "no place": (no_place, "a place for 0 of 1 pictures"),
}
