"""Errors that a person reads: one sentence with the cause and the next step."""

from __future__ import annotations

from typing import Any


class VlmDemoError(Exception):
    """Base of everything that the page and the command line print as it stands, without a traceback."""


class BadImage(VlmDemoError):
    """The upload cannot be opened as a picture, or is too large."""


class BadQuestion(VlmDemoError):
    """The question is empty, or does not fit into the model's context."""


class BadSetting(VlmDemoError):
    """A setting of the loading or of the writing lies outside what it can be."""


class ImageTokensMismatch(VlmDemoError):
    """The prompt's places for pictures and what the model makes of them do not fit; ``check`` is the failed check."""

    def __init__(self, check: Any) -> None:
        super().__init__(f"{check.why} {check.remedy}")
        self.check = check


class ModelNotFound(VlmDemoError):
    """The name is no embedded model, the folder holds no model, or the hub cannot deliver it."""


class UnsupportedModel(VlmDemoError):
    """The checkpoint is readable, but its class has no adapter here."""


class QuantizationUnavailable(VlmDemoError):
    """The asked precision cannot be had on this machine."""


class OcrUnavailable(VlmDemoError):
    """Tesseract is not installed, or fails on a picture."""


class WordNotInAnswer(VlmDemoError, KeyError):
    """A heatmap was asked for a word that the answer does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])


class Stopped(VlmDemoError):
    """The person pressed Stop; the computing ended at the next layer or token."""
