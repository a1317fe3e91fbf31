"""Tokenizer: a byte-level BPE learnt from the drawn world's questions, answers and printed lines.

Digits and newlines always stand alone: numbers are copied digit by digit, and a prompt may be cut at any newline
without changing its tokens.
"""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from vlm_demo.stages.places import MARK
from vlm_demo.stages.prompt import EVIDENCE_RULE, OCR_HEADER
from vlm_demo.synthetic.areas import AREAS
from vlm_demo.synthetic.questions import ask
from vlm_demo.synthetic.world import COLOURS, NOUNS, TRAITS

VOCABULARY = 3072
PAD, BOS, EOS, IMAGE, USER, ASSISTANT = "<pad>", "<s>", "</s>", "<image>", "<|user|>", "<|assistant|>"
SPECIAL = (PAD, BOS, EOS, IMAGE, USER, ASSISTANT)

# Pictures come first in their turn, then the text; an assistant turn closes with </s>.
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<|assistant|>' }}{% else %}{{ '<|user|>' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(seed: int, pictures: int = 5000) -> PreTrainedTokenizerFast:
    """Learn VOCABULARY tokens from the texts of ``pictures`` pictures; the same seed gives the same tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed, pictures), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        extra_special_tokens={"image_token": IMAGE, "user_token": USER, "assistant_token": ASSISTANT},
        model_max_length=2048,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )


def with_marks(tokenizer: PreTrainedTokenizerFast, patches: int) -> PreTrainedTokenizerFast:
    """The tokenizer with a mark for each of so many patches (`stages/places.py`) behind all its tokens."""
    tokenizer.add_tokens([AddedToken(MARK.format(patch), special=True, normalized=False) for patch in range(patches)])
    return tokenizer


def _texts(seed: int, pictures: int):
    areas = list(AREAS)
    for i in range(pictures):
        rng = np.random.default_rng([seed, 2, i])
        picture = AREAS[areas[i % len(areas)]].draw(rng, False)
        yield f"{OCR_HEADER}\n{EVIDENCE_RULE}"
        yield from (f"{name} {name}" for name in (*NOUNS, *TRAITS, *COLOURS))
        read = picture.facts.get("texts", [])
        for question in ask(picture, 8, rng, read or None):
            yield question.text
            yield question.answer
        if i % (2 * len(areas)) < len(areas):
            yield "\n".join(read)


def carry_over(old: PreTrainedTokenizerFast, new: PreTrainedTokenizerFast, rows: torch.Tensor) -> torch.Tensor:
    """Rows of an embedding or output matrix [old vocabulary, d] for another tokenizer: each of its tokens gets the mean
    of the rows of the old tokens that spell it."""
    carried = []
    for index in range(len(new)):
        token = new.convert_ids_to_tokens(index)
        same = old.convert_tokens_to_ids(token)
        if same is not None and old.convert_ids_to_tokens(same) == token:
            ids = [same]
        else:
            ids = old(new.backend_tokenizer.decoder.decode([token]), add_special_tokens=False).input_ids
        carried.append(rows[ids].mean(0))
    return torch.stack(carried)
