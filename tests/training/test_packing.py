"""The packed sequence must train exactly what inference will ask: the same tokens, positions and logits."""

import numpy as np
import pytest
import torch

from vlm_demo.stages.prompt import EVIDENCE_RULE, OCR_HEADER
from vlm_demo.synthetic.asking import Question
from vlm_demo.training.llava import build
from vlm_demo.training.packing import IGNORED, Packer, block_mask, collate


def _packed(tokenizer, read, seed=0):
    questions = [
        Question("a", f"How many {word} are there?", "two") for word in ("circles", "red stars", "things", "bars")
    ]
    return Packer(tokenizer, 4).pack(questions, read, np.random.default_rng(seed))


@pytest.mark.parametrize(
    "read",
    [
        None,
        [("ocr", "MARIO'S 24\nTOTAL 12.50")],
        [("place", "<|at7|>"), ("ocr", "TOTAL"), ("place", "<|at12|>"), ("ocr", " 12.50"), ("ocr", "\n"), ("ocr", "x")],
    ],
)
def test_each_block_is_the_chat_template_around_its_question(tokenizer, read):
    packed = _packed(tokenizer, read)
    prefix = packed.ids[packed.blocks == 0]
    first = packed.ids[packed.blocks == 1]
    cut = int(np.flatnonzero(first == tokenizer.convert_tokens_to_ids("<|assistant|>"))[0]) + 1
    question = tokenizer.decode(first[: cut - 1])
    assert question.split("\n")[0] == "How many circles are there?"
    assert question.split("\n")[1:] in ([], [EVIDENCE_RULE])
    header = f"{OCR_HEADER}\n" + "".join(text for _, text in read) + "\n\n" if read else ""
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": header + question}]}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    whole = tokenizer(text.replace("<image>", "<image>" * 4), add_special_tokens=False).input_ids
    assert [*prefix, *first[:cut]] == whole


def test_a_block_answers_as_if_it_were_alone(tokenizer):
    torch.manual_seed(0)
    model = build(tokenizer).eval().model.language_model
    packed = _packed(tokenizer, None, seed=3)
    batch = collate([packed], tokenizer.pad_token_id)
    together = model(
        input_ids=batch["ids"],
        position_ids=batch["positions"],
        attention_mask=block_mask(batch["blocks"], torch.float32),
    ).last_hidden_state[0]
    for block in range(1, packed.blocks.max() + 1):
        own = (packed.blocks == 0) | (packed.blocks == block)
        alone = model(input_ids=torch.from_numpy(packed.ids[own])[None]).last_hidden_state[0]
        torch.testing.assert_close(together[own], alone, atol=1e-4, rtol=1e-4)


def test_labels_are_the_answer_and_its_end(tokenizer):
    packed = _packed(tokenizer, None)
    said = packed.labels[packed.labels != IGNORED]
    assert tokenizer.decode(said).replace("</s>", " ").split() == ["two"] * 4


def test_a_question_made_to_follow_is_the_next_turn_of_the_same_chat(tokenizer):
    follow = Question("follow", "And the circle?", "blue")
    questions = [Question("a", "What color is the star?", "red", follow=follow), Question("b", "How many?", "two")]
    packed = Packer(tokenizer, 4).pack(questions, None, np.random.default_rng(1))
    first = tokenizer.decode(packed.ids[packed.blocks == 1])
    assert first.index("star") < first.index("red</s><|user|>And the circle?") < first.index("blue</s>")
    own = packed.blocks <= 1
    assert packed.positions[own].tolist() == list(range(own.sum()))
