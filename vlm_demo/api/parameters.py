"""Parameters: what the arguments of the APIs mean, each described once, and a function's docstring with them in it."""

from __future__ import annotations

from collections.abc import Callable
from inspect import getdoc, signature
from typing import Any, TypeVar

MEANING = {
    "image": "the picture as a base64 data URI, or its address at a host that the server allows",
    "question": "what is asked about it",
    "answer": "a given answer to the question",
    "texts": "what is compared with the picture",
    "schema": "a JSON schema of an object with strings, numbers, integers, booleans, enums and such objects",
    "ocr": "whether the picture's text is read first and given to the model",
    "evidence_only": "whether the model is told to say unknown where it sees nothing",
    "max_tokens": "the longest answer",
    "temperature": "0 takes the likeliest token each time; above it, tokens are drawn",
    "seed": "of the drawing; the same one gives the same answer",
    "page": "which page of a PDF, or frame of a GIF or TIFF, from 1; the first where it is left out",
    "words": "of the answer, whose heatmaps are drawn; all but function words where it is left out",
    "method": "how heatmaps are drawn; the model's default where it is left out",
    "grounding": "whether to tell what the answer rests on, which asks the model several times",
    "in_one": "whether one question asks for all fields, its answer held to the schema; small models do better without",
    "blank": "whether the question is asked about a blank picture too, which costs another answer",
}
Described = TypeVar("Described", bound=Callable[..., Any])


def described(function: Described) -> Described:
    """Put what its arguments mean into a function's docstring, before what it returns, as Gradio reads it."""
    summary, returns, result = (getdoc(function) or "").partition("Returns:")
    lines = [f"    {name}: {MEANING[name]}" for name in signature(function).parameters if name in MEANING]
    function.__doc__ = "\n".join([summary.rstrip(), "", "Parameters:", *lines, f"{returns}{result}"])
    return function
