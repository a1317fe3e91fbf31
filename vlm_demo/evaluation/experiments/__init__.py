"""Experiments: questions that everybody asks about these models, answered by measuring the one at hand."""
