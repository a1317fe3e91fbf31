"""What the tests of training share."""

import pytest

from vlm_demo.training.patches import GRID
from vlm_demo.training.tokenizer import train_tokenizer, with_marks


@pytest.fixture(scope="session")
def tokenizer():
    return with_marks(train_tokenizer(seed=1, pictures=60), GRID * GRID)
