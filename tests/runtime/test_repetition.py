"""A loop is cut after its first occurrence and reported; what people and pictures repeat is not."""

import copy
from collections.abc import Iterator
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from tests.kit.tiny import tiny_llava
from vlm_demo import Pipeline
from vlm_demo.cli.output import follow, show
from vlm_demo.contracts import TokenEvent
from vlm_demo.runtime.repetition import LONGEST, PIECE, SPAN, TIMES, TextGuard, kept, period
from vlm_demo.stages.choosing import Step
from vlm_demo.ui.stage_words import detail


def shortened(text: str) -> str | None:
    """What is left of a text with a token for each of its characters; None where nothing is cut."""
    for count in range(1, len(text) + 1):
        ids = [ord(letter) for letter in text[:count]]
        if found := period(ids):
            return text[: kept(ids, text[:count], found)]
    return None


def guarded(text: str, chunk: int) -> str | None:
    """The same of a text that comes in chunks of so many characters."""
    guard = TextGuard()
    found = (guard.add(text[at : at + chunk]) for at in range(0, len(text), chunk))
    length = next((length for length in found if length is not None), None)
    return None if length is None else text[:length]


@pytest.mark.parametrize("length", [1, 3, 17, 24, LONGEST])
def test_a_loop_is_noticed_as_soon_as_it_is_sure_and_keeps_one_occurrence(length: int) -> None:
    lead, loop = [1000, 1001], list(range(length))
    ids, sure = [*lead, *loop * 60], max(TIMES, -(-SPAN // length)) * length
    noticed = next(count for count in range(len(ids)) if period(ids[:count]))
    assert noticed == len(lead) + sure and period(ids[:noticed]) == length
    assert kept(ids[:noticed], [" x"] * noticed, length) == len(lead) + length


HONEST = [
    "ha ha ha ha ha ha ha",
    "no, no, no, no",
    "".join(f"{i}. a red circle\n" for i in range(1, 30)),
    "| a | b |\n| --- | --- |\n| 0 | 0 | 0 | 0 | 0 | 0 |\n| 0 | 0 | 0 | 0 | 1 | 0 |\n",
    "1 Coffee 2.50\n1 Coffee 2.50\n1 Tea 2.00\nTOTAL 7.00",
    "Sold to: A. Smith, 12 High Street, Leeds\n" * 2 + "Date: 2 May",
    "0.00000000000000000001",
    "a red circle, a blue star, a red square, a red star, a blue circle, a red circle, a blue star, a blue square",
]
LOOPS = [
    ("This is a cat. " * 9, "This is a cat. "),
    ("I see a cat. " + "This is a cat. " * 9, "I see a cat. This is a cat."),
    ("The star is red" + " and the star is red" * 9, "The star is red and the"),
    ("It costs 1" + "0" * 90, "It costs 10"),
    ("Yes." + " no" * 90, "Yes. no"),
    ("a star, 12.50 in all\n" * 9, "a star, 12.50 in all\n"),
]


@pytest.mark.parametrize("text", HONEST)
def test_what_only_repeats_a_little_stays_whole(text: str) -> None:
    assert shortened(text) is None


@pytest.mark.parametrize(("text", "left"), LOOPS)
def test_what_is_kept_ends_where_a_sentence_or_a_word_does(text: str, left: str) -> None:
    assert shortened(text) == left


@pytest.mark.parametrize("chunk", [1, 3, 7, 10**6])
def test_a_text_whose_tokens_are_not_known_is_cut_by_the_same_rule(chunk: int) -> None:
    """However it is divided into chunks, and where its tokens would end."""
    honest = [
        *HONEST,
        "".join(f"| {i} | red | {'-' * 60} |\n" for i in range(40)),
        f"Contents {'.' * 120} 1\nName: {'_' * 90}\n{' ' * 100}Total\n",
        "| 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |\n" * 2,
        "\n".join(f"{name} circle: large, round, on the left" for name in ("red", "blue", "green", "black", "pink")),
        "".join(f"- a picture of a star ({i})\n" for i in range(60)),
    ]
    assert [text for text in honest if guarded(text, chunk) is not None] == []
    loops = [*LOOPS[1:3], *LOOPS[4:], ("I see " + "ha" * 200, "I see hahahahahahahaha")]
    loops += [("This is a cat. " * 9, "This is a cat. This is a cat.")]  # the first has no space before it
    loops += [("It costs 1" + "0" * 400, "It costs 100000000")]
    assert [guarded(text, chunk) for text, _ in loops] == [left for _, left in loops]


@pytest.mark.parametrize(
    "text", ["", " ", "a  b\n\n c", "ABCDEFGHIJKL ---------- 1,000.50€", "猫です。 ", "a\u2028b_c"]
)
def test_the_pieces_join_to_the_text(text: str) -> None:
    assert "".join(match.group() for match in PIECE.finditer(text)) == text


def looping(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, lead: str, loop: str, more: int = 10**6) -> list[int]:
    """Let the pipeline's model say ``loop`` over and over; returns what it will have been asked for."""
    first, again = (pipe.tokenizer.encode(text, add_special_tokens=False) for text in (lead, loop))
    asked: list[int] = []

    class Looping(type(pipe.stages().llm)):  # type: ignore[misc]
        def __call__(self, *_: Any) -> Iterator[Step]:
            for token in islice(chain(first, cycle(again)), more):
                asked.append(token)
                yield Step(token, 0.5, None)

    written = copy.copy(pipe.stages().llm)
    written.__class__ = Looping
    monkeypatch.setattr(pipe.stages(), "llm", written)
    return asked


@pytest.mark.parametrize(
    "loop", [" star", " red square,", " the picture has a large purple star and a small red square."]
)
def test_any_model_that_loops_is_stopped_cut_and_reported(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], noise, loop: str
) -> None:
    asked = looping(pipe, monkeypatch, "yes.", loop)
    *events, answer = pipe.stream(noise(50, 50), "Wie geht es dir?")
    assert answer.text == "yes." + loop and answer.cut == len(asked) - len(answer.tokens) > 0
    assert len(asked) < 100 and not answer.stopped
    assert [token.id for token in answer.tokens] == asked[: len(answer.tokens)]
    assert answer.words[-1].stop == len(answer.tokens) and "cut off" in detail(events[-1])
    texts = [event.text for event in events if isinstance(event, TokenEvent)]
    assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:], strict=False))
    show(follow([*events, answer], live=False))
    printed = capsys.readouterr()
    assert printed.out == f"{answer.text}\n" and "began to repeat itself, so the answer was cut there" in printed.err


def test_a_list_is_written_to_its_end(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, noise) -> None:
    text = "\n".join(f"{i}. a red circle" for i in range(1, 20))
    looping(pipe, monkeypatch, text, "", more=len(pipe.tokenizer.encode(text, add_special_tokens=False)))
    answer = pipe.ask(noise(50, 50), "What is there?")
    assert answer.text == text and not answer.cut


def test_the_tokens_up_to_the_cut_are_those_of_generate(tmp_path: Path, noise) -> None:
    """A language model whose attention is silenced goes from token to token alone, and so into a loop."""
    folder, lengths = tiny_llava(tmp_path), set()
    pipe = Pipeline.from_pretrained(folder)
    plain = LlavaForConditionalGeneration.from_pretrained(folder, dtype="auto").eval()
    for model in (pipe.model, plain):
        for layer in model.model.language_model.layers:
            layer.self_attn.o_proj.weight.data.zero_()
    pipe.stages().llm.ends = frozenset()
    for number in range(4):
        pipe.cuts_repetition = True
        question = f"How many circles are there{'?' * number}"
        answer = pipe.ask(noise(60, 60), question, max_new_tokens=200)
        ids = torch.tensor([answer.prompt.ids])
        with torch.no_grad():
            made = plain.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                pixel_values=pipe.view(answer.view.image).pixel_values,
                do_sample=False,
                max_new_tokens=200,
                eos_token_id=None,
            )
        expected = made[0, ids.shape[1] :].tolist()
        written, whole = [token.id for token in answer.tokens], len(answer.tokens) + answer.cut
        assert written == expected[: len(written)] and len(answer.trace.image) == len(written)
        loop = period(expected[:whole])
        assert answer.cut and loop and all(expected[i] == expected[i - loop] for i in range(whole, 200))
        lengths.add(loop)
        pipe.cuts_repetition = False
        uncut = pipe.ask(noise(60, 60), question, max_new_tokens=200)
        assert [token.id for token in uncut.tokens] == expected and not uncut.cut
    assert max(lengths) > 1
