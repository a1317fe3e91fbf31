"""Explain: which parts of the picture an answer's words rest on."""
