"""Training: the recipes that make the embedded checkpoints from the synthetic world."""
