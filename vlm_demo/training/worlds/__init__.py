"""The synthetic world: pictures that this project draws, with the truth about every object in them."""
