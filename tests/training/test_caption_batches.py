"""Batches of captions: the same for the same seed, and nobody's negatives where they are true."""

import torch

from vlm_demo.synthetic.captions import Caption
from vlm_demo.training.captions import CaptionBatches, may_be_true


def test_captions_are_no_negatives_of_pictures_that_they_fit():
    texts = ("a red circle", "a red circle and a blue star", "blue star and red circle", "a red star", "")
    matrix = may_be_true([Caption(text, "", text) for text in texts])
    assert matrix.tolist() == [
        [True, False, False, False, True],
        [True, True, True, False, True],
        [True, True, True, False, True],
        [False, False, False, True, True],
        [False, False, False, False, True],
    ]


def test_batches_come_from_the_seed_alone_and_close_with_the_token_asked_for(tokenizer):
    batches = CaptionBatches(3, 0, tokenizer, end=5, size=4, claims=3)
    first, again = next(iter(batches)), next(iter(batches))
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = next(iter(CaptionBatches(3, 1, tokenizer, end=5, size=4, claims=3)))
    assert not torch.equal(first["pixels"], other["pixels"])
    assert first["full"].shape[:2] == (4, 2) and first["claims"].shape[:3] == (4, 3, 2)
    for row in (*first["full"].flatten(0, 1), *first["claims"].flatten(0, 2)):
        real = row[row != tokenizer.pad_token_id]
        assert real[0] == tokenizer.bos_token_id and real[-1] == 5 and (real == 5).sum() == 1
    assert first["same"].diagonal().all()
