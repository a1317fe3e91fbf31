"""What tests of drawn colours share."""

import numpy as np

from vlm_demo.training.worlds.world import COLOURS


def colour_distance(pixel: np.ndarray, name: str, softened: bool = False) -> float:
    """From an RGB to the nearest segment between two anchors of the name; ``softened``: or of these mixed with gray."""
    anchors = np.array(COLOURS[name], dtype=float)
    ends = [*anchors, *(anchors * 0.8 + 30)] if softened else [*anchors]
    best = np.inf
    for a in ends:
        for b in ends:
            along = b - a
            t = 0 if not along.any() else np.clip(np.dot(pixel - a, along) / np.dot(along, along), 0, 1)
            best = min(best, float(np.linalg.norm(pixel - (a + t * along))))
    return best
