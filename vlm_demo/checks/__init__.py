"""Checks: an answer → the five lines of the checklist, each a module of its own.

They take plain values of ``contracts`` and measure nothing themselves; no torch, no model, no page.
"""
