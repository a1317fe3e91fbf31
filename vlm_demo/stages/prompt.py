"""Prompt: question, OCR text and history → the token ids that the language model is given.

The checkpoint's own chat template decides the form. What people typed or printed is text and never control: the
number of image tokens depends on the pictures alone.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

from jinja2 import TemplateError

from vlm_demo.contracts import Prompt, Segment, Turn
from vlm_demo.errors import BadQuestion, PromptTooLong, UnsupportedModel

EVIDENCE_RULE = "Answer only from visible evidence; say unknown if it is unclear."
OCR_HEADER = "Text in the picture:"

# Stand-ins for people's text while the template is filled, from a private-use area that no template writes.
STAND_IN = "\ue000{}\ue001"
STAND_INS = re.compile("\ue000(\\d+)\ue001")
OURS = ("template", "image")  # the kinds of text that people don't write; control strings act in no other

Piece = tuple[str, str]  # (kind as in Segment, text)
Message = tuple[str, int, list[Piece]]  # role, how many pictures, text
Coded = tuple[int, int, int]  # token id, and the characters [start, stop) of the text that it stands for


def conversation(messages: Iterable[tuple[str, int, str]], plain_system: bool = False) -> list[dict[str, Any]]:
    """What a chat template is given: (role, number of pictures, text) of each message. Some templates take a system
    message's content as a plain text only, others as a list of parts only."""
    return [
        {"role": role, "content": text}
        if plain_system and role == "system"
        else {"role": role, "content": [*[{"type": "image"}] * images, {"type": "text", "text": text}]}
        for role, images, text in messages
    ]


def ocr_part(ocr_text: str) -> str:
    """The text that was read in a picture as it precedes the question, the same for every model: a header, the
    lines in reading order, and an empty line; nothing where nothing was read."""
    return f"{OCR_HEADER}\n{ocr_text}\n\n" if ocr_text.strip() else ""


@dataclass(frozen=True)
class PromptBuilder:
    """Fills and tokenizes the chat template of one checkpoint.

    Attributes:
        tokenizer: a fast tokenizer of transformers.
        template: the chat template, Jinja.
        image_token_id: the id in whose places image tokens go.
        context: the longest prompt in tokens.
        placeholder: what the template writes for a picture; None = that token.
        lock: held while the tokenizer works; its state is switched to encode control strings as text.
    """

    tokenizer: Any
    template: str
    image_token_id: int
    context: int
    placeholder: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __call__(
        self,
        question: str,
        pictures: Sequence[int | str],
        *,
        ocr_text: str = "",
        evidence_only: bool = False,
        history: Sequence[Turn] = (),
        system: str = "",
    ) -> Prompt:
        """Build the prompt.

        Args:
            question: as the person typed it.
            pictures: what stands for each picture, those of the history's turns first: so many image tokens, or a text
                of the family's own with image tokens in it.
            ocr_text: the lines that Tesseract read, or empty.
            evidence_only: add the rule that asks for "unknown" where nothing is seen.
            history: earlier turns; ``Turn.images`` says how many of the pictures are each turn's.
            system: the system message: in the template's own system turn, or before the first text where it has none.
        Raises:
            BadQuestion: the question is empty.
            PromptTooLong: the prompt is longer than the context; says what to leave out.
            UnsupportedModel: the template has no place for a picture or for text.
        """
        if not question.strip():
            raise BadQuestion("The question is empty: type what you want to know about the picture.")
        texts = [("question", question)]
        ocr_block = ocr_part(ocr_text)
        if ocr_block:
            texts.insert(0, ("ocr", ocr_block))
        if evidence_only:
            texts.append(("rule", f"\n{EVIDENCE_RULE}"))
        messages: list[Message] = []
        for turn in history:
            messages.append(("user", len(turn.images), [("history", turn.question)]))
            messages.append(("assistant", 0, [("history", turn.answer)]))
        earlier = sum(images for _, images, _ in messages)
        messages.append(("user", len(pictures) - earlier, texts))

        with self.lock:
            plain = False
            if system.strip():
                messages, plain = self._with_system(messages, system)
            pieces = self._filled(messages, plain)
            if sum(kind == "image" for kind, _ in pieces) != len(pictures):
                raise UnsupportedModel("This model's chat template has no place for these pictures: choose another.")
            written = self._written(pieces, pictures)
            prompt = _cut(pieces, written, self._tokenized(written), self.image_token_id)
        if len(prompt.ids) > self.context:
            # Pictures and template are there however short the text is.
            fixed = sum(segment.stop - segment.start for segment in prompt.segments if segment.kind in OURS)
            if fixed >= self.context:
                way_out = "use fewer pictures" if len(pictures) > 1 else "choose another model"
            else:
                way_out = "turn OCR off, or shorten the question" if ocr_block else "shorten the question"
            if history:
                way_out += ", or ask it in a new chat"
            raise PromptTooLong(
                f"The prompt is {len(prompt.ids)} tokens long, but this model's context holds {self.context}: "
                f"{way_out}.",
                len(prompt.ids),
            )
        return prompt

    def encode_text(self, text: str) -> list[int]:
        """The ids of ``text`` alone, control strings in it taken as ordinary text."""
        with self.lock:
            return [token for token, _, _ in self._as_text(text)]

    # -- the template -------------------------------------------------------------------------------------------

    def _with_system(self, messages: list[Message], system: str) -> tuple[list[Message], bool]:
        """The messages with the system message, and whether the template wants it as a plain text."""
        turns: list[Message] = [("system", 0, [("system", system)]), *messages]
        stand_ins = [STAND_IN.format(i) for i in range(len(turns))]
        for plain in (True, False):
            try:
                text = self._render(turns, stand_ins, plain)
            except (UnsupportedModel, TypeError):  # it takes no system message, or its content in another form
                continue
            if text.count(stand_ins[0]) == 1:
                return turns, plain
        (role, images, pieces), *others = messages
        return [(role, images, [("system", f"{system.strip()}\n\n"), *pieces]), *others], False

    def _filled(self, messages: list[Message], plain_system: bool = False) -> list[Piece]:
        """Fill the template; the texts of the pieces join to it, with people's text apart from the template's."""
        message_pieces = [pieces for _, _, pieces in messages]
        parts = STAND_INS.split(
            self._render(messages, [STAND_IN.format(i) for i in range(len(message_pieces))], plain_system)
        )
        if len(parts) == 1:
            raise UnsupportedModel("This model's chat template leaves the question out: choose another model.")
        filled = self._substituted(parts, message_pieces)
        if _joined(filled) != self._render(messages, [_joined(pieces) for pieces in message_pieces], plain_system):
            # Some templates trim what they are given.
            filled = self._substituted(parts, [_stripped(pieces) for pieces in message_pieces])
        return filled

    def _render(self, messages: list[Message], texts: list[str], plain_system: bool = False) -> str:
        filled = [(role, images, text) for (role, images, _), text in zip(messages, texts, strict=True)]
        try:
            return self.tokenizer.apply_chat_template(
                conversation(filled, plain_system),
                chat_template=self.template,
                add_generation_prompt=True,
                tokenize=False,
            )
        except TemplateError as error:
            raise UnsupportedModel("This model's chat template refuses this conversation: start a new chat.") from error

    def _substituted(self, parts: list[str], message_pieces: list[list[Piece]]) -> list[Piece]:
        """Replace the stand-ins (every second of ``parts``) by people's text, and cut the rest at the placeholders."""
        placeholder = self.placeholder or self._image_token
        pieces: list[Piece] = []
        for i, part in enumerate(parts):
            if i % 2:
                pieces += message_pieces[int(part)]
                continue
            for j, text in enumerate(part.split(placeholder)):
                pieces += [("image", placeholder)] * (j > 0) + [("template", text)]
        return [(kind, text) for kind, text in pieces if text]

    def _written(self, pieces: list[Piece], pictures: Sequence[int | str]) -> list[Piece]:
        """The pieces with each placeholder replaced by what stands for its picture."""
        remaining = iter(pictures)
        written = []
        for kind, text in pieces:
            replacement = next(remaining) if kind == "image" else text
            written.append((kind, self._image_token * replacement if isinstance(replacement, int) else replacement))
        return written

    @property
    def _image_token(self) -> str:
        return self.tokenizer.convert_ids_to_tokens(self.image_token_id)

    # -- the tokens ---------------------------------------------------------------------------------------------

    @cached_property
    def _control(self) -> dict[int, str]:
        """Id → string of all that is control. White space, which some checkpoints add tokens for, is none."""
        added = self.tokenizer.added_tokens_decoder.items()
        return {id_: str(token) for id_, token in added if str(token).strip() and id_ != self.tokenizer.unk_token_id}

    def _tokenized(self, pieces: list[Piece]) -> list[Coded]:
        """Tokenize the whole text at once, as the checkpoint's processor does, if people's text holds no control and
        breaks none of the template's."""
        text = _joined(pieces)
        # The rule of transformers' processors: a template that writes the first token itself gets no second one. Some
        # write it behind the pictures.
        bos = self.tokenizer.bos_token
        first_text = next((piece for kind, piece in pieces if kind != "image"), "")
        add_first = not (bos and first_text.startswith(bos))
        whole = self._coded(text, add_special_tokens=add_first)
        stops = list(accumulate(len(text) for _, text in pieces))

        def ours(start: int, stop: int) -> bool:
            owner = bisect_left(stops, stop)
            return pieces[owner][0] in OURS and start >= stops[owner] - len(pieces[owner][1])

        # What the tokenizer adds by itself stands for no text.
        found = [(token, start, stop) for token, start, stop in whole if token in self._control and start < stop]
        written = [token for token, _, _ in self._written_control(pieces)]
        if [token for token, _, _ in found] == written and all(ours(start, stop) for _, start, stop in found):
            return whole
        return self._apart(pieces, whole[:1] if add_first and whole and whole[0][2] == 0 else [])

    def _written_control(self, pieces: list[Piece]) -> list[Coded]:
        """The control strings that template and pictures write."""
        added = {string: id_ for id_, string in self._control.items()}
        coded: list[Coded] = []
        start = 0
        for kind, piece in pieces:
            for match in self._control_strings.finditer(piece) if kind in OURS else ():
                coded.append((added[match.group()], start + match.start(), start + match.end()))
            start += len(piece)
        return coded

    @cached_property
    def _control_strings(self) -> re.Pattern[str]:
        longest_first = sorted(self._control.values(), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def _apart(self, pieces: list[Piece], first: list[Coded]) -> list[Coded]:
        """Control strings of the template to their ids; all between two of them as ordinary text."""
        text, coded, at = _joined(pieces), list(first), 0
        for token, start, stop in self._written_control(pieces):
            coded += [*self._as_text(text[at:start], at), (token, start, stop)]
            at = stop
        return coded + self._as_text(text[at:], at)

    def _as_text(self, text: str, at: int = 0) -> list[Coded]:
        """Tokenize ``text``, which begins at character ``at`` of the prompt, so that nothing in it is control."""
        coded = self._coded(text, add_special_tokens=False, split_special_tokens=True)
        # Splitting reaches special tokens only. Added ones that are not special, which may be met in other letters too
        # where the tokenizer normalises them, are broken up after a character.
        cuts = {start + 1 for token, start, stop in coded if token in self._control and stop - start > 1}
        if not cuts:
            return [(token, at + start, at + stop) for token, start, stop in coded]
        ends = sorted({*cuts, len(text)})
        parts = zip([0, *ends], ends, strict=False)
        return [piece for start, stop in parts for piece in self._as_text(text[start:stop], at + start)]

    def _coded(self, text: str, **options: bool) -> list[Coded]:
        coded = self.tokenizer(text, return_offsets_mapping=True, **options)
        return [(token, *span) for token, span in zip(coded["input_ids"], coded["offset_mapping"], strict=True)]


def _cut(pieces: list[Piece], written: list[Piece], coded: list[Coded], image_token_id: int) -> Prompt:
    """Cut the ids into segments: their text is the filled template's, their ids those of what replaced it."""
    stops = list(accumulate(len(text) for _, text in written))
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    owned = -1  # the last piece that a segment stands for
    for token, _, stop in coded:
        # A token belongs to the piece of its last character: SentencePiece glues the space before a word to it.
        owner = max(bisect_left(stops, stop), owned)
        begin = len(ids)
        ids.append(token)
        if token == image_token_id:
            positions.append(begin)
        if owner > owned:
            text = _joined(pieces[owned + 1 : owner + 1])
            segments.append(Segment(pieces[owner][0], text, begin, len(ids)))
            owned = owner
        else:
            last = segments.pop()
            segments.append(Segment(last.kind, last.text, last.start, len(ids)))
    return Prompt(_joined(pieces), tuple(ids), len(positions), tuple(positions), tuple(segments))


def _joined(pieces: Sequence[Piece]) -> str:
    return "".join(text for _, text in pieces)


def _stripped(pieces: list[Piece]) -> list[Piece]:
    """The pieces with the space around their joined text taken away."""
    (first, *others) = pieces
    left = [(first[0], first[1].lstrip()), *others]
    (*before, last) = left
    return [*before, (last[0], last[1].rstrip())]
