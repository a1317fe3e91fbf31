"""Generate fallback: pictures and question → tokens with a model whose stages are unknown: its processor and generate.

Replaces the prompt and llm stages. What people type goes through a processor that takes control strings as
control, so a text that holds one is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from jinja2 import TemplateError
from PIL import Image
from transformers import LogitsProcessorList, ProcessorMixin, StoppingCriteria, StoppingCriteriaList

from vlm_demo.contracts import Prompt, Segment, Turn, View
from vlm_demo.contracts.sampling import GREEDY, Sampling
from vlm_demo.errors import BadQuestion, UnsupportedModel
from vlm_demo.runtime import repetition
from vlm_demo.runtime.json_grammar import JsonGrammars
from vlm_demo.stages.choosing import Step, likeliest
from vlm_demo.stages.llm import LONGEST_ANSWER
from vlm_demo.stages.prompt import EVIDENCE_RULE, conversation, ocr_part

if TYPE_CHECKING:
    from vlm_demo.models.adapters.generate_only import GenerateOnly
    from vlm_demo.runtime.cancellation import CancellationHooks, Cancelled


@dataclass(frozen=True)
class ProcessedPrompt:
    """A prompt, and the ``inputs`` of ``generate`` that the model's own processor made of it and its pictures."""

    prompt: Prompt
    inputs: dict[str, Any] = field(repr=False)


class Repeating(StoppingCriteria):
    """Ends a generation of one sequence whose tail has become a loop. Counts its own calls, one a token: what stands
    before the answer depends on the model."""

    def __init__(self) -> None:
        self.written = 0

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        self.written += 1
        looping = repetition.period(input_ids[0, -self.written :].tolist()) is not None
        return torch.full((len(input_ids),), looping, device=input_ids.device)


class GenerateFallback:
    """Reads and writes with a model as it is."""

    def __init__(self, family: GenerateOnly, guard: CancellationHooks, tokenizer: Any, template: str) -> None:
        self.family, self.guard, self.template = family, guard, template
        self.tokenizer = copy.deepcopy(tokenizer)
        self.grammars = JsonGrammars(tokenizer)

    def read(
        self,
        question: str,
        pictures: Sequence[View],
        *,
        ocr_text: str = "",
        evidence_only: bool = False,
        history: Sequence[Turn] = (),
        system: str = "",
    ) -> ProcessedPrompt:
        """Fill the chat template and let the processor do the rest.

        Raises:
            BadQuestion: a text holds a control string, or the processor refuses what it is given.
            UnsupportedModel: the template refuses this conversation.
        """
        question_text = f"{ocr_part(ocr_text)}{question}"
        question_text = f"{question_text}\n{EVIDENCE_RULE}" if evidence_only else question_text
        messages: list[tuple[str, int, str]] = []
        for turn in history:
            messages += [("user", len(turn.images), turn.question), ("assistant", 0, turn.answer)]
        messages.append(("user", len(pictures) - sum(images for _, images, _ in messages), question_text))
        for text in (system, *(text for _, _, text in messages)):
            self._refuse_control(text)
        text = self._filled(messages, system.strip())
        bos = self.tokenizer.bos_token
        options = {"add_special_tokens": False} if bos and text.startswith(bos) else {}
        try:
            images = [Image.fromarray(view.processed) for view in pictures]
            inputs = self.family.processor(images=images, text=[text], return_tensors="pt", **options)
        except (ValueError, TypeError, IndexError) as error:
            raise BadQuestion(
                "The processor of this model does not take this conversation: use one picture, or start a new chat."
            ) from error
        ids = tuple(inputs["input_ids"][0].tolist())
        image = getattr(self.family.config, "image_token_id", None)
        image_positions = tuple(i for i, token in enumerate(ids) if token == image)
        segments = (Segment("template", text, 0, len(ids)),)
        return ProcessedPrompt(Prompt(text, ids, len(image_positions), image_positions, segments), dict(inputs))

    def limit(self, prompt_tokens: int, max_new_tokens: int | None) -> int:
        """How many tokens an answer has at most; ``max_new_tokens``: None = the checkpoint's own."""
        wanted = self.family.model.generation_config.max_new_tokens if max_new_tokens is None else max_new_tokens
        wanted = LONGEST_ANSWER if wanted is None else wanted
        context = getattr(self.family.model.config.get_text_config(), "max_position_embeddings", None)
        return min(wanted, max(1, context - prompt_tokens + 1)) if context else wanted

    def write(
        self,
        inputs: Mapping[str, Any],
        max_new_tokens: int | None = None,
        cancelled: Cancelled | None = None,
        sampling: Sampling = GREEDY,
    ) -> Generator[Step, None, None]:
        """All at once: tokens come when the last one is there, or the tail repeats.

        Args:
            inputs: as `read` gives them.
            max_new_tokens: None = the checkpoint's own limit.
            cancelled: asked before every layer.
            sampling: how tokens are chosen.
        Raises:
            BadSetting: the answer can't be held to ``sampling.schema``.
            Stopped: ``cancelled()`` turned True.
        """
        model = self.family.model
        limit = self.limit(inputs["input_ids"].shape[-1], max_new_tokens)
        accepted = {key: value for key, value in inputs.items() if key not in ("labels", "num_crops")}
        moved = {key: value.to(model.device) if hasattr(value, "to") else value for key, value in accepted.items()}
        for key, value in moved.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                moved[key] = value.to(model.dtype)
        eos_ids = model.generation_config.eos_token_id
        eos_ids = [] if eos_ids is None else eos_ids if isinstance(eos_ids, list) else [eos_ids]
        mask = None if sampling.schema is None else self.grammars.processor_for(sampling.schema, eos_ids)

        def generate() -> Any:
            with _seeded(sampling):
                return model.generate(
                    **moved,
                    **_options(sampling),
                    num_beams=1,
                    max_new_tokens=limit,
                    output_logits=True,
                    stopping_criteria=StoppingCriteriaList([] if mask else [Repeating()]),
                    logits_processor=LogitsProcessorList([mask] if mask else []),
                    return_dict_in_generate=True,
                )

        output = self.guard.run(generate, cancelled)
        new_ids = output.sequences[0, -len(output.logits) :].tolist()
        for token, logits in zip(new_ids, output.logits, strict=True):
            if token in eos_ids:
                return
            probabilities = logits[0].float()
            yield Step(
                token,
                float(probabilities.softmax(-1)[token]),
                None,
                alternatives=likeliest(probabilities, sampling.alternatives),
            )

    def _filled(self, messages: list[tuple[str, int, str]], system: str = "") -> str:
        """The messages in the chat template, a system message in its own turn if there is one; or else before them."""
        if system and self.template:
            for plain in (True, False):
                with suppress(UnsupportedModel, TypeError):
                    text = self._rendered([("system", 0, system), *messages], plain)
                    if system in text:
                        return text
        if system:
            (role, images, text), *others = messages
            messages = [(role, images, f"{system}\n\n{text}"), *others]
        if not self.template:
            images = sum(count for _, count, _ in messages)
            processor = self.family.processor
            # Some put the pictures before the text by themselves.
            expands = type(processor).replace_image_token is not ProcessorMixin.replace_image_token
            place = processor.image_token if expands else ""
            return place * images + "\n".join(text for _, _, text in messages)
        return self._rendered(messages)

    def _rendered(self, messages: list[tuple[str, int, str]], plain_system: bool = False) -> str:
        chat = conversation(messages, plain_system)
        try:
            return self.tokenizer.apply_chat_template(
                chat, chat_template=self.template, add_generation_prompt=True, tokenize=False
            )
        except TemplateError as error:
            raise UnsupportedModel("This model's chat template refuses this conversation: start a new chat.") from error

    def _refuse_control(self, text: str) -> None:
        """Refuse what the tokenizer takes for control, in any spelling, and what the processor replaces itself."""
        added = {i: str(token) for i, token in self.tokenizer.added_tokens_decoder.items() if str(token).strip()}
        added.pop(self.tokenizer.unk_token_id, None)
        placeholders = (
            str(token) for name, token in vars(self.family.processor).items() if name.endswith("_token") and token
        )
        tokenized = (added.get(token) for token in self.tokenizer(text, add_special_tokens=False)["input_ids"])
        in_text = (token for token in (*added.values(), *placeholders) if token in text)
        found = next((token for token in (*in_text, *tokenized) if token is not None), None)
        if found is not None:
            raise BadQuestion(f"To this model {found} is a command and no text: leave it out.")


def _options(sampling: Sampling) -> dict[str, Any]:
    """What ``generate`` is given to choose tokens as ``stages.choosing.TokenChoice`` does."""
    options: dict[str, Any] = {"do_sample": sampling.draws}
    if sampling.draws:
        options["temperature"] = 1.0 if sampling.temperature is None else float(sampling.temperature)
        options |= {"top_k": int(sampling.top_k or 0), "top_p": float(sampling.top_p or 1.0)}  # 0 and 1: of all tokens
    if sampling.repetition_penalty is not None:
        options["repetition_penalty"] = float(sampling.repetition_penalty)
    return options


@contextmanager
def _seeded(sampling: Sampling) -> Iterator[None]:
    """``generate`` draws by torch's global generator: seed it for this once, and put it back."""
    if not sampling.draws or sampling.seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(int(sampling.seed))
        yield
