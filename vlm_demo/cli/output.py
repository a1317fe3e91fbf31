"""Output: an answer → words on the terminal, a JSON object, heatmap files.

Knows the data of an answer, not how it was made.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_demo.errors import VlmDemoError
from vlm_demo.words import FUNCTION_WORDS, OCR_CUT

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer
    from vlm_demo.contracts.engine import Event


def follow(stream: Iterable[Event], live: bool) -> Answer:
    """Read an engine's events to the last, which is the answer; ``live`` writes the words as they come."""
    from vlm_demo.contracts import Answer, TokenEvent

    written, answer = "", None
    for event in stream:
        if isinstance(event, Answer):
            answer = event
        elif live and isinstance(event, TokenEvent) and event.text.startswith(written):
            # A character of several tokens shows as U+FFFD until its last one has come.
            ready = event.text.rstrip("\ufffd")
            if len(ready) > len(written):
                print(printable(ready[len(written) :]), end="", flush=True)
                written = ready
    assert answer is not None
    if live:
        rest = answer.text[len(written) :] if answer.text.startswith(written) else f"\n{answer.text}"
        print(printable(rest))
    return answer


def show(
    answer: Answer,
    *,
    heatmap: Path | None = None,
    word: str | None = None,
    as_json: bool = False,
    printed: bool = False,
) -> None:
    """Print the answer and write the heatmaps. A heatmap that can't be drawn does not cost the answer.

    Args:
        answer: the engine's answer.
        heatmap: where to write the heatmap; with several pictures OUT.png, OUT-2.png, ...
        word: the word or words it is for; None is the first content word.
        as_json: print one JSON object instead of the text.
        printed: the text stands on the terminal already.
    Raises:
        WordNotInAnswer: the answer does not hold ``word``; raised after all else has been printed.
    """
    if not printed and not as_json:
        print(printable(answer.text))
    notes = [answer.shortened] if answer.shortened else []
    notes += [note for view in answer.views for note in view.notes]
    if answer.ocr and answer.ocr.left_out:
        notes.append(OCR_CUT.format(answer.ocr.left_out, answer.ocr.left_out + len(answer.ocr.words)))
    if answer.ocr and answer.ocr.note:
        notes.append(answer.ocr.note)
    if answer.replayed:
        notes.append(answer.replayed)
    word = word or content_word([word.text for word in answer.words])
    files: list[Path] = []
    problem: VlmDemoError | None = None
    if heatmap and word:
        try:
            files = _write_heatmaps(answer, word, heatmap)
        except VlmDemoError as error:
            problem = error
    elif heatmap:
        notes.append("There is no heatmap, because the answer has no words.")
    if as_json:
        print(json.dumps(_as_json(answer, word, files, notes), ensure_ascii=False))
    else:
        for note in notes:
            print(note, file=sys.stderr)
        for file in files:
            print(f"heatmap of “{word}”: {file}", file=sys.stderr)
    if problem:
        raise problem


def _write_heatmaps(answer: Answer, word: str, out: Path) -> list[Path]:
    """One file a picture: OUT.png, OUT-2.png, ..."""
    from vlm_demo.images.overlay import overlay

    files = []
    for index, view in enumerate(answer.views):
        file = out if index == 0 else out.with_stem(f"{out.stem}-{index + 1}")
        overlay(view.image, answer.heatmap(word, image=index)).convert("RGB").save(file)
        files.append(file)
    return files


def _as_json(answer: Answer, word: str | None, files: list[Path], notes: list[str]) -> dict[str, Any]:
    return {
        "text": answer.text,
        "stopped": answer.stopped,
        "cut": answer.cut,
        "full": answer.full,
        "model": answer.model,
        "tokens": [dataclasses.asdict(token) for token in answer.tokens],
        "prompt": {"text": answer.prompt.text, "image_tokens": answer.prompt.image_tokens},
        "image_tokens": answer.prompt.image_tokens,
        "ocr": answer.ocr.text if answer.ocr else None,
        "ocr_left_out": answer.ocr.left_out if answer.ocr else 0,
        "timings": dataclasses.asdict(answer.timings),
        "memory": dataclasses.asdict(answer.memory),
        "heatmap": str(files[0]) if files else None,
        "heatmaps": [str(file) for file in files],
        "heatmap_word": word if files else None,
        "notes": notes,
        "replay": dataclasses.asdict(answer.replay) if answer.replay else None,
    }


def printable(text: str) -> str:
    """The text without control characters: a model that read them in a picture must not control the terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)


def content_word(words: Sequence[str]) -> str | None:
    """The first content word, else the first word, else None."""
    bare = [re.sub(r"^\W+|\W+$", "", word) for word in words]
    return next(
        (word for word in bare if word and word.casefold() not in FUNCTION_WORDS), next(filter(None, bare), None)
    )
