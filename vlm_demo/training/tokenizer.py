"""Tokenizer: a byte-level BPE learnt from the synthetic world's questions, answers and receipt lines.

Digits and newlines always stand alone: numbers are copied digit by digit, and a prompt may be cut at any newline
without changing its tokens.
"""

from __future__ import annotations

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from vlm_demo.stages.prompt import EVIDENCE_RULE, OCR_HEADER
from vlm_demo.synthetic.charts import draw_chart
from vlm_demo.synthetic.questions import ask
from vlm_demo.synthetic.receipts import draw_receipt
from vlm_demo.synthetic.scenes import draw_scene

VOCABULARY = 2048
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


def train_tokenizer(seed: int, pictures: int = 4000) -> PreTrainedTokenizerFast:
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


def _texts(seed: int, pictures: int):
    for i in range(pictures):
        rng = np.random.default_rng([seed, 2, i])
        picture = (draw_scene, draw_scene, draw_chart, draw_receipt)[i % 4](rng)
        yield f"{OCR_HEADER}\n{EVIDENCE_RULE}"
        read = picture.facts.get("texts", [])
        for question in ask(picture, 8, rng, read or None):
            yield question.text
            yield question.answer
        if picture.kind == "receipt" and i % 8 == 3:
            yield "\n".join(read)
