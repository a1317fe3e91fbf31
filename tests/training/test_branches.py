"""Branches: several conversations in one sequence are trained exactly as if each were asked alone."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

from tests.kit.tiny_parts import SIDE, TOKENS
from vlm_demo.models.builders import lora
from vlm_demo.models.smollm2 import CHAT_TEMPLATE, LanguageModel
from vlm_demo.stages.prompt import EVIDENCE_RULE, OCR_HEADER, PromptBuilder
from vlm_demo.training.branches import WEIGHTS, BranchPacker, Packed, PictureTurns, collate
from vlm_demo.training.lora import ALPHA
from vlm_demo.training.mixture import Sample
from vlm_demo.training.trained_parts import Parts, logits_of

CONVERSATIONS = (
    PictureTurns((("How many circles?", "2"), ("And the square?", "blue, I think")), ("count", "follow")),
    PictureTurns((("Is there a cat in the picture?", "no"),), ("presence-no",), rule=True),
    PictureTurns((("What is the total?", "12.50 in all"),), ("drawn",)),
    PictureTurns((("What is in the picture?", "A red circle and two blue squares."),), ("caption",)),
)


@pytest.fixture(params=["", "Tea 4.50\nTotal 12.50"], ids=["without OCR", "with OCR"])
def conversations(request: pytest.FixtureRequest) -> tuple[PictureTurns, ...]:
    return tuple(replace(conversation, ocr=request.param) for conversation in CONVERSATIONS)


@pytest.fixture
def packer(parts: Parts) -> BranchPacker:
    return BranchPacker(parts.tokenizer, TOKENS)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def plain(parts: Parts, language: LanguageModel) -> LlavaForConditionalGeneration:
    """Transformers' own LLaVA of the same tower, projector, and language model with LoRA merged."""
    config = LlavaConfig(
        vision_config=parts.tower.config,
        text_config=language.config,
        image_token_index=parts.tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        projector_hidden_act="gelu",
    )
    model = LlavaForConditionalGeneration(config).eval()
    model.model.vision_tower.load_state_dict(parts.tower.state_dict())
    model.model.multi_modal_projector.load_state_dict(parts.projector.state_dict())
    merged = lora.merged(language.weights, {name: weight.detach() for name, weight in parts.trained().items()}, ALPHA)
    merged = {name.removeprefix("model."): weight for name, weight in merged.items() if name.startswith("model.")}
    model.model.language_model.load_state_dict(merged)
    model.lm_head.weight = torch.nn.Parameter(merged["embed_tokens.weight"])
    return model


def _text(conversation: PictureTurns, number: int) -> str:
    question, _ = conversation.turns[number]
    text = f"{OCR_HEADER}\n{conversation.ocr}\n\n{question}" if conversation.ocr and number == 0 else question
    return f"{text}\n{EVIDENCE_RULE}" if conversation.rule else text


def _alone(parts: Parts, conversation: PictureTurns) -> list[int]:
    """The conversation's ids by the chat template, up to the end of the last answer."""
    messages = []
    for number, (_, answer) in enumerate(conversation.turns):
        picture = [{"type": "image"}] if number == 0 else []
        messages.append({"role": "user", "content": [*picture, {"type": "text", "text": _text(conversation, number)}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    text = parts.tokenizer.apply_chat_template(messages, chat_template=CHAT_TEMPLATE, tokenize=False)
    text = text.replace("<image>", "<image>" * TOKENS).removesuffix("\n")
    return parts.tokenizer(text, add_special_tokens=False)["input_ids"]


def _branch(packed: Packed, number: int) -> np.ndarray:
    """The ids that branch ``number`` attends to: the prefix's and the branch's."""
    return packed.ids[(packed.branch == 0) | (packed.branch == number)]


def _of(logits: torch.Tensor, batch: dict, packed: Packed, number: int, row: int = 0) -> torch.Tensor:
    """The logits that predict tokens of one branch of one row."""
    in_branch = torch.from_numpy(packed.branch == number)
    return logits[(batch["at"][:, 0] == row) & in_branch[(batch["at"][:, 1] + 1).clamp(max=len(in_branch) - 1)]]


def test_each_branch_holds_what_the_chat_template_writes(
    conversations: tuple[PictureTurns, ...], parts: Parts, packer: BranchPacker
) -> None:
    packed = packer(conversations, 1000)
    for number, conversation in enumerate(conversations, 1):
        assert _branch(packed, number).tolist() == _alone(parts, conversation)


def test_a_question_reads_as_the_app_asks_it(
    conversations: tuple[PictureTurns, ...], parts: Parts, packer: BranchPacker
) -> None:
    builder = PromptBuilder(copy.deepcopy(parts.tokenizer), CHAT_TEMPLATE, packer.image_id, 1000)
    for conversation in conversations:
        question, _ = conversation.turns[0]
        prompt = builder(question, [TOKENS], ocr_text=conversation.ocr, evidence_only=conversation.rule)
        assert packer([conversation], 1000).ids.tolist()[: len(prompt.ids)] == list(prompt.ids)


@torch.no_grad()
def test_logits_of_packed_conversations_are_those_of_each_alone_in_plain_transformers(
    conversations: tuple[PictureTurns, ...],
    parts: Parts,
    packer: BranchPacker,
    plain: LlavaForConditionalGeneration,
    pixels: np.ndarray,
) -> None:
    packed = packer(conversations, 1000)
    logits, batch = logits_of(parts, [Sample(pixels, packed, "any")], 0)
    pictures = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    for number, conversation in enumerate(conversations, 1):
        ids = torch.tensor([_alone(parts, conversation)])
        weights = np.concatenate([packed.weights[packed.branch == 0], packed.weights[packed.branch == number]])
        predicted = torch.from_numpy(weights).nonzero()[:, 0]
        expected = plain(input_ids=ids, pixel_values=pictures).logits[0, predicted - 1]
        found = _of(logits, batch, packed, number)
        assert found.shape == expected.shape and expected.std() > 0.1
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_another_conversation_changes_nothing_and_the_picture_does(
    conversations: tuple[PictureTurns, ...], parts: Parts, packer: BranchPacker, pixels: np.ndarray
) -> None:
    packed = packer(conversations, 1000)
    logits, batch = logits_of(parts, [Sample(pixels, packed, "any")], 0)
    longer = PictureTurns(
        (("What colour is the very large square in the picture?", "red"),), ("colour",), ocr=conversations[0].ocr
    )
    other = packer([conversations[0], longer, *conversations[2:]], 1000)
    changed, changed_batch = logits_of(parts, [Sample(pixels, other, "any")], 0)
    for number in (1, 3, 4):
        torch.testing.assert_close(_of(changed, changed_batch, other, number), _of(logits, batch, packed, number))
    seen, _ = logits_of(parts, [Sample(255 - pixels, packed, "any")], 0)
    assert all((_of(seen, batch, packed, n) - _of(logits, batch, packed, n)).abs().max() > 1e-3 for n in (1, 2, 3, 4))


@torch.no_grad()
def test_padding_a_batch_changes_no_logits(
    conversations: tuple[PictureTurns, ...], parts: Parts, packer: BranchPacker, pixels: np.ndarray
) -> None:
    short, long = packer(conversations[:1], 1000), packer(conversations, 1000)
    alone, _ = logits_of(parts, [Sample(pixels, short, "any")], 0)
    both, batch = logits_of(parts, [Sample(pixels, short, "any"), Sample(255 - pixels, long, "any")], 0)
    torch.testing.assert_close(both[batch["at"][:, 0] == 0], alone)


def test_positions_count_from_the_pictures_end(conversations: tuple[PictureTurns, ...], packer: BranchPacker) -> None:
    packed = packer(conversations, 1000)
    start = int((packed.branch == 0).sum())
    assert packed.positions[packed.branch == 0].tolist() == list(range(start))
    for number in range(1, len(conversations) + 1):
        branch_positions = packed.positions[packed.branch == number]
        assert branch_positions.tolist() == list(range(start, start + len(branch_positions)))


def test_answers_and_their_ends_are_predicted_and_nothing_else(
    conversations: tuple[PictureTurns, ...], parts: Parts, packer: BranchPacker
) -> None:
    packed = packer(conversations, 1000)
    batch = collate([packed], 0)
    predicted = [parts.tokenizer.decode(batch["targets"][batch["turn"] == turn]) for turn in range(len(packed.kinds))]
    assert predicted == [f"{answer}<|im_end|>" for conversation in conversations for _, answer in conversation.turns]
    assert packed.kinds == tuple(kind for conversation in conversations for kind in conversation.kinds)
    for turn, (_, answer) in enumerate(turn for conversation in conversations for turn in conversation.turns):
        weights = batch["weights"][batch["turn"] == turn]
        weight = WEIGHTS.get(packed.kinds[turn].split("-")[0], 1.0)
        assert weights.tolist() == pytest.approx([weight * (len(packer.encode(answer)) + 1) ** -0.5] * len(weights))


def test_conversations_that_do_not_fit_are_left_out_but_the_first(
    conversations: tuple[PictureTurns, ...], packer: BranchPacker
) -> None:
    whole = packer(conversations, 1000)
    room = int((whole.branch <= 1).sum()) + int((whole.branch == 2).sum())
    assert set(packer(conversations, room).branch) == {0, 1, 2}
    tight = packer(conversations, 1)
    assert set(tight.branch) == {0, 1} and _branch(tight, 1).tolist() == _branch(whole, 1).tolist()


def test_ocr_text_comes_once_in_a_sequence(packer: BranchPacker) -> None:
    read = packer([replace(conversation, ocr="Tea 4.50") for conversation in CONVERSATIONS], 1000)
    assert packer.tokenizer.decode(read.ids).count("Tea 4.50") == 1
    with pytest.raises(ValueError, match="one OCR text"):
        packer([CONVERSATIONS[0], replace(CONVERSATIONS[1], ocr="Tea 4.50")], 1000)
