"""Bench: this pipeline beside plain transformers on the same random weights, every figure measured in one run."""
