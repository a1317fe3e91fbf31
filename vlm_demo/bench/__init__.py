"""Bench: this pipeline against plain transformers on the same random weights, every figure measured in one run."""
