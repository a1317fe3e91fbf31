"""Evaluation: a folder of questions with known answers → accuracies with their uncertainty.

Knows the pipeline's `ask` and `explain` and nothing of how they work.
"""
