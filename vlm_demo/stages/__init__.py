"""Stages: one a file, each callable alone."""
