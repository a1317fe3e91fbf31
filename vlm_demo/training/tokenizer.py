"""Tokenizer: a byte-level BPE learnt from the drawn world's questions, answers and printed lines.

A word is cut alike with and without a space before it: its first token has a twin that begins with the space. So what
stands behind a mark, amid a printed line, in a question and at the beginning of an answer is the same row of tokens but
for the first, and can be found again and copied.

Digits and newlines always stand alone: numbers are copied digit by digit, and a prompt may be cut at any newline
without changing its tokens.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from vlm_demo.stages.prompt import EVIDENCE_RULE, OCR_HEADER
from vlm_demo.synthetic.areas import AREAS
from vlm_demo.synthetic.questions import ask
from vlm_demo.synthetic.world import COLOURS, NOUNS, TRAITS
from vlm_demo.training.ocr_marks import MARK

VOCABULARY = 3072
SPACE = "Ġ"  # how a byte-level BPE writes a space
KINSHIP = 0.4  # of its twin's row that a token's row takes over
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
    """Learn at most VOCABULARY tokens from the texts of ``pictures`` pictures; the same seed gives the same tokens."""
    vocabulary, merges = _twinned(*_learnt(seed, pictures))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.pre_tokenizer = _cut(pre_tokenizers.Split(Regex(r"\n"), "isolated"))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
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


def _cut(spaces: pre_tokenizers.PreTokenizer) -> pre_tokenizers.PreTokenizer:
    """Text in words; each digit is one."""
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizers.Sequence([spaces, pre_tokenizers.Digits(individual_digits=True), words])


def _learnt(seed: int, pictures: int) -> tuple[list[str], list[tuple[str, str]]]:
    """The letters (bytes) and the merges of a BPE of words without their spaces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _cut(pre_tokenizers.Split(Regex(r"\s+"), "removed"))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    size = (VOCABULARY - len(SPECIAL)) // 2
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator(_texts(seed, pictures), trainer)
    return letters, [(one, other) for one, other in json.loads(tokenizer.to_str())["model"]["merges"]]


def _twinned(letters: list[str], merges: list[tuple[str, str]]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and merges with a twin of each token, which begins with a space.

    A space joins the first letter before anything else, unless that is but a byte of one; after that a merge of a
    word's first token comes just before the same merge further on in it, as without the space, where equal pairs are
    merged from the left.
    """
    tokens = [*letters, *(SPACE + letter for letter in letters if letter.isascii())]
    twinned = [(SPACE, letter) for letter in letters if letter.isascii()]
    for one, other in merges:
        if one[0].isascii():
            tokens.append(SPACE + one + other)
            twinned.append((SPACE + one, other))
        tokens.append(one + other)
        twinned.append((one, other))
    known = dict.fromkeys([*SPECIAL, *tokens])  # two merges may make the same token
    return {token: number for number, token in enumerate(known)}, twinned


def with_marks(tokenizer: PreTrainedTokenizerFast, patches: int) -> PreTrainedTokenizerFast:
    """The tokenizer with a mark for each of so many patches (`training/ocr_marks.py`) behind all its tokens."""
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


def alike(tokenizer: PreTrainedTokenizerFast, rows: torch.Tensor) -> torch.Tensor:
    """Embeddings [vocabulary, d] in which each token and its twin with a space have something in common, whatever they
    were before: so a word is recognised in both spellings from the first step. Lengths stay as they were."""
    known = tokenizer.get_vocab()
    pairs = [(known[token], known[SPACE + token]) for token in known if SPACE + token in known]
    one, other = torch.tensor(pairs).unbind(1)
    mixed = rows.clone()
    mixed[one] += KINSHIP * rows[other]
    mixed[other] += KINSHIP * rows[one]
    return mixed * (rows.norm(dim=1) / mixed.norm(dim=1).clamp(min=1e-9))[:, None]
