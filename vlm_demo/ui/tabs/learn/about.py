"""About: what each stage does, in a sentence or two."""

from __future__ import annotations

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
