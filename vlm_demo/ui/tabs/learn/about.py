"""About: what each stage does, in a sentence or two, and the file of the project that does it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

# Part of the tab → file below the package.
FILES = {
    "view": "stages/view.py",
    "ocr": "stages/ocr.py",
    "encoder": "stages/encoder.py",
    "bridge": "stages/bridge.py",
    "prompt": "stages/prompt.py",
    "llm": "stages/llm.py",
    "whole": "pipeline/generate_fallback.py",
    "explain": "explain/heatmap.py",
    "anatomy": "explain/anatomy.py",
    "colours": "ui/tabs/learn/principal.py",
    "scores": "runtime/scorer.py",
    "losses": "ui/tabs/learn/losses.py",
}
# Stage, or kind of bridge → what it does.
ABOUT = {
    "view": "Opens the upload by its content, turns it upright, and makes of it the pixels that the encoder was "
    "trained on: what is cut away or squeezed here, no later stage can know.",
    "ocr": "Reads text in the full-resolution upload, beside the model, and puts it before the question as lines.",
    "encoder": "A vision tower turns the pixels of every patch into a vector. It does not know the question.",
    "projector": "Maps each vector into the space of the language model’s word embeddings: image tokens.",
    "Q-Former": "A few learned queries look at all vectors and gather what they need: so many image tokens, whatever "
    "the number of patches. They stand for no place of the picture.",
    "cross-attention": "The vectors never become words. Layers between the language model’s own look at them, at every "
    "word that is written.",
    "prompt": "The chat template with the question, and the places that the image tokens take. What a person, a "
    "history or OCR wrote is ordinary text there, never control.",
    "llm": "Reads the whole prompt once (prefill), then writes one token at a time (decode), each from the last one’s "
    "state, by the final norm and the head.",
    "whole": "This model is asked in one piece, by its own processor and its own generate: its stages can’t be seen "
    "apart.",
    "explain": "Draws the attention of the step that wrote a word over the upload’s own pixels.",
}


@dataclass(frozen=True)
class Source:
    """A file of the project: its path, and its address where the project says where it lives."""

    path: str
    link: str


def source(name: str) -> Source:
    """The file of a stage."""
    path = f"vlm_demo/{FILES[name]}"
    return Source(path, f"{home()}/blob/main/{path}" if home() else "")


def home() -> str:
    """Where the project lives on the web, as its package says; empty where it doesn't."""
    try:
        urls = metadata.metadata("vlm_demo").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return ""
    named = dict(url.split(", ", 1) for url in urls if ", " in url)
    address = str(named.get("Repository") or named.get("Homepage") or "")
    return address.rstrip("/") if address.startswith("https://") else ""
