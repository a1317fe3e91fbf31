"""What is still answered wrongly is asked more often, and the share of right answers survives a pause."""

from collections import Counter

import numpy as np
import torch

from vlm_demo.synthetic.areas import AREAS
from vlm_demo.synthetic.questions import ask
from vlm_demo.training.data import QuestionBatches
from vlm_demo.training.focus import KINDS, LEAST, NO_KIND, UNANSWERABLE, Focus
from vlm_demo.training.packing import IGNORED


def test_an_answer_is_right_if_all_its_tokens_are():
    focus = Focus()
    kinds = torch.tensor([KINDS["colour"], NO_KIND, KINDS["count"], KINDS["colour"]])
    right = torch.tensor([True, True, False, True, False, True, True])
    for _ in range(300):
        focus.learn(right, kinds, torch.tensor([2, 1, 2, 2]))
    shares = focus.shares()
    assert shares["colour"] > 0.99 and shares["count"] == 0 and sum(share > 0 for share in shares.values()) == 1
    assert focus.keep("colour", True) == LEAST and focus.keep("count", True) == 1
    assert focus.keep("colour", False) == focus.keep("count", False) == UNANSWERABLE


def test_a_mastered_kind_is_asked_less_often():
    focus = Focus()
    focus.right[KINDS["shape"]] = 1.0

    def asked(keep):
        rng = np.random.default_rng(5)
        pictures = [AREAS["scenes"].draw(rng, False) for _ in range(60)]
        return Counter(question.kind for picture in pictures for question in ask(picture, 4, rng, keep=keep))

    as_ever, less = asked(None), asked(focus.keep)
    assert 0 < less["shape"] < 0.5 * as_ever["shape"]
    assert sum(less.values()) == sum(as_ever.values())


def test_a_batch_tells_the_kind_and_the_length_of_each_of_its_answers(tmp_path, tokenizer):
    focus = Focus()
    batch = next(iter(_batches(QuestionBatches(3, 0, tokenizer, tmp_path, False, focus))))
    assert len(batch["kinds"]) == len(batch["lengths"]) and (batch["kinds"] >= 0).any()
    assert int(batch["lengths"].sum()) == int((batch["labels"] != IGNORED).sum())
    ends = batch["labels"][batch["labels"] != IGNORED][batch["lengths"].cumsum(0) - 1]
    assert (ends == tokenizer.eos_token_id).all()


def test_it_is_saved_and_what_other_processes_see_is_filled():
    focus, other = Focus(), Focus()
    focus.right[3] = 0.5
    seen = other.right
    other.load_state_dict(focus.state_dict())
    assert seen.is_shared() and seen is other.right and float(seen[3]) == 0.5


def _batches(dataset):
    return torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1)
