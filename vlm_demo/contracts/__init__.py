"""Contracts: the frozen dataclasses that travel from stage to stage, and the interface of the engines.

No model, no torch, no file access. Coordinates are pixels of the *uploaded* picture after EXIF rotation (x to the
right, y down, origin in the top-left corner) unless a field says otherwise.
"""

from vlm_demo.contracts.anatomy import Anatomy, Candidates, Features, Lens
from vlm_demo.contracts.answer import Answer, MapDrawer, MapRequest, Replay, Shares, Word
from vlm_demo.contracts.attention import HeatmapSettings, Trace
from vlm_demo.contracts.checks import BlankAnswer, Check
from vlm_demo.contracts.events import Memory, StageEvent, Timings, Token, TokenEvent
from vlm_demo.contracts.features import BridgeInfo, ImageTokens, PatchFeatures
from vlm_demo.contracts.geometry import PatchGrid, View
from vlm_demo.contracts.grounding import LEVELS, Evidence, Grounding
from vlm_demo.contracts.ocr import DEFAULT_OCR, OcrResult, OcrSettings, OcrWord, ReadWord
from vlm_demo.contracts.prompt import Conversation, Prompt, Segment, Turn
from vlm_demo.contracts.scores import Scores

__all__ = [
    "DEFAULT_OCR",
    "LEVELS",
    "Anatomy",
    "Answer",
    "Conversation",
    "BlankAnswer",
    "BridgeInfo",
    "Candidates",
    "Check",
    "Evidence",
    "Features",
    "Grounding",
    "ImageTokens",
    "Lens",
    "MapDrawer",
    "MapRequest",
    "Memory",
    "OcrResult",
    "OcrSettings",
    "OcrWord",
    "PatchFeatures",
    "PatchGrid",
    "Prompt",
    "ReadWord",
    "Replay",
    "Scores",
    "Segment",
    "HeatmapSettings",
    "Shares",
    "StageEvent",
    "Timings",
    "Token",
    "TokenEvent",
    "Trace",
    "Turn",
    "View",
    "Word",
]
