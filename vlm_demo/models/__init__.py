"""Models: which checkpoints there are, how one is loaded, and where its parts live."""
