"""What the tests of training share."""

import pytest

from vlm_demo.training.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(seed=1, pictures=60)
