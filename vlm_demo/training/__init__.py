"""Training: photographs and drawn pictures, with what is known of them → an embedded model's trained weights."""
