"""Stages: one station of the road a file, each callable alone."""
