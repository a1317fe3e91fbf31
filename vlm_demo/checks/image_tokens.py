"""Image tokens: does the prompt hold as many placeholders as there are features, where the template put them?

Values: placeholders, features, pictures, first, last (the places of the first and last image token in the prompt),
prompt_tokens, context, fits (whether the language model can be given these features at all).

The classic way to get confident nonsense: a processor that counts other patches than the encoder makes (one more or
less is the CLS token), a placeholder under another id than the one that the model replaces, or a prompt that was cut
inside a picture. Where pictures are read through cross-attention, one mark a picture stands in the prompt instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlm_demo.contracts.checks import FAIL, IMAGE_TOKENS, OPEN, PASS, Check, Value
from vlm_demo.contracts.geometry import View
from vlm_demo.contracts.prompt import Prompt, Segment

TEMPLATE = "Use the checkpoint's own chat template and processor, and count placeholders from the features."
NOT_CUT = "Turn the tokenizer's truncation off, or shorten what is asked."
STRATEGY = (
    "Set vision_feature_select_strategy to what the projector was trained with: “default” drops the CLS token, “full” "
    "keeps it."
)


@dataclass(frozen=True)
class PictureTokens:
    """What the model makes of one picture.

    Attributes:
        features: the rows that go to the language model.
        expected: how many the picture's patches call for, a CLS token that the checkpoint keeps included; None where
            that can't be told from the patches.
    """

    features: int
    expected: int | None = None


def made_of(view: View, features: int, leading: int, plain: bool) -> PictureTokens:
    """What was made of a picture, and what its patches call for.

    Args:
        features: the rows that go to the language model.
        leading: how many of them stand for no patch.
        plain: whether the bridge makes one token of each patch of the view's grid.
    """
    (grid, *others) = view.patch_grids or (None,)
    in_order = grid is None or np.array_equal(grid.tokens, np.arange(len(view.boxes)))
    return PictureTokens(features, len(view.boxes) + leading if plain and in_order and not others else None)


def check(
    prompt: Prompt,
    made: Sequence[PictureTokens] | None,
    image_token_id: int | None = None,
    context: int | None = None,
    *,
    marks: bool = False,
) -> Check:
    """Compare a prompt with what the encoder and the bridge made of its pictures.

    Args:
        prompt: as it goes to the language model.
        made: of each picture, in the prompt's order; None where the model does that itself, unseen.
        image_token_id: the id that this model replaces by features.
        context: the longest sequence in tokens.
        marks: whether the prompt holds one mark a picture, and the features are looked at from elsewhere.
    """
    values: dict[str, Value] = {
        "placeholders": prompt.image_tokens,
        "features": None if made is None else sum(picture.features for picture in made),
        "pictures": None if made is None else len(made),
        "first": prompt.image_positions[0] if prompt.image_positions else None,
        "last": prompt.image_positions[-1] if prompt.image_positions else None,
        "prompt_tokens": len(prompt.ids),
        "context": context,
        "fits": True,
    }
    if made is None:
        why = "This model runs in one piece: it counts its image tokens itself, out of sight."
        return Check(IMAGE_TOKENS, OPEN, values, why, measured=f"{prompt.image_tokens} placeholders")
    counts = [sum(token == image_token_id for token in prompt.ids[run.start : run.stop]) for run in _runs(prompt)]
    values["placeholders"] = sum(token == image_token_id for token in prompt.ids)
    # Among the words, features go to the places that the prompt names; marks are looked up by their id.
    places = values["placeholders"] if marks else len(prompt.image_positions)
    values["fits"] = places == (len(made) if marks else values["features"])
    wrong = _wrong(prompt, list(made), counts, image_token_id, marks)
    measured = _measured(values, marks)
    if wrong:
        return Check(IMAGE_TOKENS, FAIL, values, *wrong, measured=measured)
    filled = f"; the prompt fills {len(prompt.ids) / context:.0%} of the context" if context else ""
    why = f"In the template's place; none missing, none too many{filled}."
    return Check(IMAGE_TOKENS, PASS, values, why, measured=measured)


def _runs(prompt: Prompt) -> list[Segment]:
    return [segment for segment in prompt.segments if segment.kind == "image"]


def _measured(values: dict[str, Value], marks: bool) -> str:
    sign = "=" if values["placeholders"] == values["features"] else "≠"
    if marks:
        counted = f"{values['placeholders']} marks for {values['pictures']} pictures, {values['features']} features"
    else:
        counted = f"{values['placeholders']} placeholders {sign} {values['features']} features"
    return counted if values["first"] is None else f"{counted}, at {values['first']} – {values['last']}"


def _wrong(
    prompt: Prompt, made: list[PictureTokens], counts: list[int], image_token_id: int | None, marks: bool
) -> tuple[str, str] | None:
    """What is wrong and what to do, the cause before what follows from it; None where nothing is."""
    wanted = [1 if marks else picture.features for picture in made]
    runs = _runs(prompt)
    if _cut(prompt, counts, wanted):
        missing = max(0, sum(wanted) - sum(counts))
        lost = f"inside a picture: {missing} of its placeholders are missing" if missing else "before its end"
        return f"The prompt was cut at token {len(prompt.ids)}, {lost}.", NOT_CUT
    if len(counts) != len(wanted):
        return f"The prompt has a place for {len(counts)} of {len(wanted)} pictures.", TEMPLATE
    for run, placed, count in zip(runs, counts, wanted, strict=True):
        others = run.stop - run.start - placed
        if placed < count and others and (placed == 0 or placed + others == count):
            inside = (token for token in prompt.ids[run.start : run.stop] if token != image_token_id)
            (found, _), *_ = Counter(inside).most_common(1)
            return (
                f"The picture's places hold the token {found}, but the model replaces {image_token_id} alone.",
                "Set image_token_id in config.json to the id that the tokenizer gives the placeholder.",
            )
    places = {at for run in runs for at in range(run.start, run.stop)}
    stray = sum(token == image_token_id and at not in places for at, token in enumerate(prompt.ids))
    if stray:
        return f"{stray} placeholders stand outside the places that the template has for pictures.", TEMPLATE
    for number, (picture, placed) in enumerate(zip(made, counts, strict=True), 1):
        if wrong := _miscounted(picture, placed, number, marks):
            return wrong
    return None


def _cut(prompt: Prompt, counts: list[int], wanted: list[int]) -> bool:
    """Whether the end of the filled template has no tokens."""
    covered = "".join(segment.text for segment in prompt.segments)
    overrun = any(segment.stop > len(prompt.ids) for segment in prompt.segments)
    return overrun or (sum(counts) <= sum(wanted) and len(covered) < len(prompt.text))


def _miscounted(picture: PictureTokens, count: int, number: int, marks: bool) -> tuple[str, str] | None:
    """What is wrong with the numbers of one picture."""
    of_it = f"picture {number}"
    off = 0 if picture.expected is None else picture.features - picture.expected
    if off == 1:
        return (
            f"The encoder hands over {picture.features} features of the {picture.expected} patches of {of_it}: the CLS "
            "token was kept where the checkpoint drops it.",
            STRATEGY,
        )
    if off == -1:
        return (
            f"The encoder hands over {picture.features} features of {of_it} where {picture.expected} belong: the CLS "
            "token was dropped, or a patch was in its place.",
            STRATEGY,
        )
    if off:
        return (
            f"The bridge makes {picture.features} image tokens of {of_it}, whose patches call for {picture.expected}.",
            "Use the image processor that the checkpoint came with.",
        )
    missing = (1 if marks else picture.features) - count
    if not missing:
        return None
    what = "mark" if marks else "placeholder"
    difference = f"{abs(missing)} {what}{'s' * (abs(missing) > 1)} of {of_it}"
    verb = "are" if abs(missing) > 1 else "is"
    return f"{difference} {verb} {'missing' if missing > 0 else 'too many'} in the prompt.", TEMPLATE
