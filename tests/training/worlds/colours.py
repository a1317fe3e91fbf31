"""What tests of drawn colours share."""

import numpy as np

from vlm_demo.training.worlds.world import COLOURS


def colour_distance(rgbs: np.ndarray, name: str, softened: bool = False) -> np.ndarray:
    """From RGBs [..., 3] to the nearest segment between two anchors of the name, [...]; ``softened``: or of these mixed
    with gray."""
    anchors = np.array(COLOURS[name], dtype=float)
    ends = [*anchors, *(anchors * 0.8 + 30)] if softened else [*anchors]
    best = np.full(np.shape(rgbs)[:-1], np.inf)
    for a in ends:
        for b in ends:
            along = b - a
            t = np.clip((rgbs - a) @ along / max(along @ along, 1e-9), 0, 1)
            best = np.minimum(best, np.linalg.norm(rgbs - (a + t[..., None] * along), axis=-1))
    return best
