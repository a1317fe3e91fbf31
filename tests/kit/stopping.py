"""What tests of stopping share."""

import threading
from collections.abc import Sequence

import pytest
import torch
from PIL import Image

from vlm_demo import Pipeline
from vlm_demo.errors import Stopped


def stopped_after_the_first(pipe: Pipeline, layers: Sequence[torch.nn.Module], picture: Image.Image) -> bool:
    """Whether an answer that is called off in the first of these layers never reaches the second."""
    pipe.forget()
    stop, ran = threading.Event(), []
    hooks = [
        layers[0].register_forward_hook(lambda *_: stop.set()),
        layers[1].register_forward_hook(lambda *_: ran.append(1)),
    ]
    try:
        with pytest.raises(Stopped):
            list(pipe.stream(picture, "How many circles are there in the picture?", cancelled=stop.is_set))
    finally:
        for hook in hooks:
            hook.remove()
    return stop.is_set() and not ran
