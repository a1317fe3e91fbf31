"""Teacher forcing: a loaded model reads an answer that it gave once more, for what the recorded rows don't hold.

Whole attention matrices, gradients, hidden states, and the answer's likelihood with parts of a picture hidden. Nothing
is generated: the tokens are given, so they can't change. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlm_demo.contracts import ImageTokens, OcrResult, Prompt, View
from vlm_demo.errors import UnsupportedModel
from vlm_demo.explain.answer_passes import AnswerLikelihoods, Layer, RecordedPass
from vlm_demo.explain.masking import PatchMasker
from vlm_demo.runtime import attention_tap
from vlm_demo.runtime.feature_cache import joined, split
from vlm_demo.runtime.logits import PLACES_AT_ONCE, in_parts

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer, Conversation
    from vlm_demo.models.adapters import Writer
    from vlm_demo.runtime.cancellation import CancellationHooks
    from vlm_demo.runtime.feature_cache import ImageTokenCache
    from vlm_demo.stages.llm import Llm
    from vlm_demo.stages.view import ViewMaker

TOKENS_AT_ONCE = 8192  # of all sequences that are read together: what a laptop's memory holds of a small model


class ImageTextMatcher(Protocol):
    """The part of a model that compares pictures with texts; see ``explain.itm_relevancy``."""

    def match(self, view: View, text: str) -> float | None:
        """How well a text fits a picture, 0..1."""

    def relevancy(self, view: View, text: str) -> np.ndarray:
        """How much each patch contributes to the match: float32 [patches]."""


class TeacherForcing:
    """The stages of a pipeline, for reading its own answers. ``build_prompt`` makes the prompt for a question, pictures
    and text that was read; ``image_text_matcher`` compares pictures with texts, or is None."""

    def __init__(
        self,
        family: Writer,
        guard: CancellationHooks,
        view: ViewMaker,
        pictures: ImageTokenCache,
        llm: Llm,
        build_prompt: Callable[[Conversation, Sequence[View], Sequence[OcrResult]], Prompt],
        image_text_matcher: ImageTextMatcher | None = None,
    ) -> None:
        self.family, self.guard, self.view = family, guard, view
        self.pictures, self.llm = pictures, llm
        self.build_prompt, self.image_text_matcher = build_prompt, image_text_matcher

    @property
    def reads_image_tokens(self) -> bool:
        """Whether the image tokens stand among the words, and have hidden states there."""
        return self.family.among_words

    def at(self, answer: Answer, step: int) -> Tensor:
        """float32 [prompt and answer], a 1 at the place from which token ``step`` was written."""
        row = torch.zeros(_length(answer), device=self.guard.device)
        row[len(answer.prompt.ids) - 1 + step] = 1
        return row

    def attention_bytes(self, answer: Answer) -> int:
        """Bytes of all attention matrices of the language model over prompt and answer."""
        heads = self.family.language_model.config.get_text_config().num_attention_heads
        return int(4 * len(self.family.language_layers) * heads * _length(answer) ** 2)

    def attentions(self, answer: Answer) -> list[Layer]:
        """Every attention layer of the language model over prompt and answer, in the order in which they ran."""
        tokens = self._image_tokens(answer)
        with attention_tap.whole() as matrices:
            self.guard.run(lambda: self._read(self._embedded(answer, tokens), answer, tokens))
        return [Layer(weights[0], self._crosses(module)) for module, weights in matrices.layers]

    def gradients(
        self, answer: Answer, steps: Sequence[int], join: Callable[[Tensor, Tensor], Tensor]
    ) -> list[list[tuple[Tensor, bool]]]:
        """For each step all layers' attention joined with the gradient of the step's own logit.

        Args:
            steps: indices of the answer's tokens.
            join: weights and gradient, each [heads, queries, keys] → [queries, keys]; called layer by layer, so that
                one step's gradients are never kept.
        Returns:
            For each step, each layer in the order in which they ran, and whether its keys are image tokens alone.
        """
        tokens = self._image_tokens(answer)

        def read() -> list[list[tuple[Tensor, bool]]]:
            found = []
            embeddings = self._embedded(answer, tokens).detach()
            with torch.enable_grad(), attention_tap.whole() as matrices:
                hidden = self._read(embeddings.requires_grad_(), answer, tokens)
                weights = [rows for _, rows in matrices.layers]
                for step in steps:
                    place = len(answer.prompt.ids) - 1 + step
                    logit = self.family.head(hidden[:, place])[0, answer.tokens[step].id].float()
                    gradients = torch.autograd.grad(logit, weights, retain_graph=True, allow_unused=True)
                    found.append(
                        [
                            (join(rows.detach()[0], torch.zeros_like(rows[0]) if grad is None else grad[0]), crossing)
                            for rows, grad, crossing in zip(
                                weights, gradients, (self._crosses(m) for m, _ in matrices.layers), strict=True
                            )
                        ]
                    )
            return found

        return self.guard.run(read)

    def hidden(self, answer: Answer) -> Tensor:
        """The language model's last hidden states [prompt and answer, d_llm]."""
        tokens = self._image_tokens(answer)
        return self.guard.run(lambda: self._read(self._embedded(answer, tokens), answer, tokens)[0])

    def recorded_pass(self, answer: Answer) -> RecordedPass:
        """One pass that keeps every layer's states, at the positions that predict the answer's tokens.

        Raises:
            UnsupportedModel: the module between the last layer and the head was not found.
        """
        patches, _ = self.pictures.patches([self.view.with_pixels(view) for view in answer.views])
        tokens, _ = self.pictures.tokens(patches, answer.prompt)
        count, length = len(answer.tokens), _length(answer)
        columns = answer.prompt.image_positions if self.family.among_words else None
        inner = {module for layer in self.family.language_layers for module in layer.modules()}
        outer = [module for module in self.family.language_model.modules() if module not in inner]
        layer_runs: list[tuple[torch.nn.Module, Tensor, Tensor]] = []
        outputs: list[tuple[torch.nn.Module, Tensor]] = []

        def record_layer(module: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            state = given[0] if given else named["hidden_states"]
            layer_runs.append((module, state[0, -count:], _first(output)[0, -count:]))

        def record_output(module: torch.nn.Module, _: object, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs.append((module, output))

        def read() -> tuple[Tensor, Tensor, attention_tap.Recorder]:
            with ExitStack() as hooks:
                for layer in self.family.language_layers:
                    hooks.callback(layer.register_forward_hook(record_layer, with_kwargs=True).remove)
                for module in outer:
                    hooks.callback(module.register_forward_hook(record_output).remove)
                recorder = hooks.enter_context(
                    attention_tap.recording(columns, count, self.family.image_attentions, length)
                )
                embeddings = self._embedded(answer, tokens)
                return embeddings, self._read(embeddings, answer, tokens), recorder

        embeddings, last, recorder = self.guard.run(read)  # the hooks see no other computation there
        norm = next((module for module, output in reversed(outputs) if output is last), None)
        if norm is None:
            raise UnsupportedModel(
                "What this language model does between its last layer and its head can't be told, so its layers can't "
                "be looked at: choose another one."
            )
        return RecordedPass(
            patches=patches,
            tokens=tokens,
            embeddings=embeddings[0],
            states=[(given, output) for _, given, output in layer_runs],
            layers=[module for module, _, _ in layer_runs],
            last=last[0, -count:],
            norm=norm,
            rows=recorder.rows(),
        )

    def crosses(self, layer: torch.nn.Module) -> bool:
        """Whether a layer of the language model looks at pictures and nothing else."""
        return any(self._crosses(module) for module in layer.modules())

    def layer_logits(self, recorded: RecordedPass) -> Iterator[Tensor]:
        """The logit lens: the norm and the head, applied to every layer's output. Logits float32 [some places,
        vocabulary], until all of [layers × tokens] were read, layer by layer; the last layer's are the model's own."""
        normed = (recorded.norm(output) for _, output in recorded.states[:-1])
        hidden = self.guard.run(lambda: torch.cat([*normed, recorded.last]))
        for part in hidden.split(PLACES_AT_ONCE):
            yield self.guard.run(partial(self._logits, part))

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.family.head(hidden).float()

    def logits(self, hidden: Tensor, ids: Sequence[int]) -> np.ndarray:
        """The logits of some tokens at each hidden state [places, d_llm]: float32 [places, ids]."""
        parts = self.guard.run(lambda: [part[:, list(ids)] for part in in_parts(self.family.head, hidden)])
        return torch.cat(parts).cpu().numpy()

    def likelihoods(self, answer: Answer, image: int, masks: np.ndarray) -> np.ndarray:
        """As `with_hidden_patches`, and only the log-probabilities: float32 [n, tokens of the answer]."""
        return self.with_hidden_patches(answer, image, masks).logprobs

    def with_hidden_patches(self, answer: Answer, image: int, masks: np.ndarray) -> AnswerLikelihoods:
        """How likely the answer is with parts of one picture hidden.

        Args:
            image: which of ``answer.views``.
            masks: bool [n, patches], True = hidden behind a blur.
        """
        encoder, bridge = self.pictures.encoder, self.pictures.bridge  # masked pictures are not to be cached
        hide = PatchMasker(self.view, self.view.with_pixels(answer.views[image]))
        others = list(split(self._image_tokens(answer))) if len(answer.views) > 1 else []
        size = max(1, TOKENS_AT_ONCE // _length(answer))
        rereads: list[tuple[Tensor, Tensor]] = []
        for begin in range(0, len(masks), size):
            views = hide(masks[begin : begin + size])
            hidden = split(bridge(encoder(views), prompt=answer.prompt))
            variants = [joined([*others[:image], changed, *others[image + 1 :]]) for changed in hidden]
            rereads += self._likelihoods_of(answer, variants)
        return _stacked(rereads)

    def with_other_text(self, answer: Answer, ocrs: Sequence[OcrResult], blank: bool = False) -> AnswerLikelihoods:
        """How likely the answer is if other text had been read, of one change.

        Args:
            ocrs: for each of ``answer.ocrs`` the reading that is put into the prompt in its place; or none at all.
            blank: show each picture in its mean colour.
        """
        encoder, bridge = self.pictures.encoder, self.pictures.bridge
        prompt, views = answer.prompt, answer.views
        if tuple(ocrs) != answer.ocrs:
            assert answer.conversation is not None
            prompt = self.build_prompt(answer.conversation, views, ocrs)
        if blank:
            originals = [self.view.with_pixels(view) for view in views]
            blanked = [replace(one, pixel_values=self.view(_mean_colour(one)).pixel_values) for one in originals]
            patches = [encoder([view]) for view in blanked]
        else:
            patches, _ = self.pictures.patches([self.view.with_pixels(view) for view in views])
        tokens = joined([bridge(features, prompt=prompt) for features in patches])
        return _stacked(self._likelihoods_of(replace(answer, prompt=prompt), [tokens]))

    def _likelihoods_of(self, answer: Answer, variants: Sequence[ImageTokens]) -> list[tuple[Tensor, Tensor]]:
        """The two rows of `AnswerLikelihoods` for each set of image tokens; in one pass where the family allows it."""
        ids = [token.id for token in answer.tokens]

        def read() -> list[tuple[Tensor, Tensor]]:
            embedded = [self._embedded(answer, tokens) for tokens in variants]
            inputs = [
                self.family.language_model_inputs(tokens, answer.prompt, range(_length(answer))) for tokens in variants
            ]
            batchable = all(
                isinstance(value, Tensor) and len(value) == 1 for given in inputs for value in given.values()
            ) and all(tokens.deep is None for tokens in variants)
            if batchable:
                batch = {name: torch.cat([given[name] for given in inputs]) for name in inputs[0]}
                hidden = self._run(torch.cat(embedded), batch)
            else:
                hidden = torch.cat(
                    [self._run(sequence, given) for sequence, given in zip(embedded, inputs, strict=True)]
                )
            states = hidden[:, -len(ids) :].flatten(0, 1)
            wanted = torch.tensor(ids, device=states.device).repeat(len(variants))
            found: list[Tensor] = []
            for logits, tokens_of_part in zip(
                in_parts(self.family.head, states), wanted.split(PLACES_AT_ONCE), strict=True
            ):
                log_probabilities = logits.log_softmax(-1)
                logprobs = log_probabilities.gather(-1, tokens_of_part[:, None])[:, 0]
                found.append(torch.stack([logprobs, (logprobs >= log_probabilities.amax(-1)).float()]))
            logprobs, likeliest = torch.cat(found, 1).view(2, len(variants), len(ids))
            return list(zip(logprobs, likeliest.bool(), strict=True))

        return self.guard.run(read)

    def _image_tokens(self, answer: Answer) -> ImageTokens:
        patches, _ = self.pictures.patches([self.view.with_pixels(view) for view in answer.views])
        return self.pictures.tokens(patches, answer.prompt)[0]

    def _embedded(self, answer: Answer, tokens: ImageTokens) -> Tensor:
        """Prompt and answer [1, tokens, d_llm], but for the last token, which is written and never read."""
        parts = [self.llm.embed(answer.prompt, tokens)]
        if len(answer.tokens) > 1:
            parts.append(self.llm.embed_ids([token.id for token in answer.tokens[:-1]]))
        return torch.cat(parts, 1)

    def _read(self, embeddings: Tensor, answer: Answer, tokens: ImageTokens) -> Tensor:
        return self._run(
            embeddings, self.family.language_model_inputs(tokens, answer.prompt, range(embeddings.shape[1]))
        )

    def _run(self, embeddings: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        return self.family.language_model(inputs_embeds=embeddings, use_cache=False, **inputs).last_hidden_state

    def _crosses(self, module: torch.nn.Module) -> bool:
        return (
            not self.family.among_words
            and self.family.image_attentions is not None
            and module in self.family.image_attentions
        )


def _first(output: Any) -> Tensor:
    """A layer's hidden states; some layers return more than these."""
    return output if isinstance(output, Tensor) else output[0]


def _mean_colour(view: View) -> Image.Image:
    """A picture of one colour, the mean of the view's."""
    return view.image.resize((1, 1), Image.Resampling.BOX).resize(view.size)


def _stacked(rereads: Sequence[tuple[Tensor, Tensor]]) -> AnswerLikelihoods:
    logprobs, likeliest = (torch.stack(part).cpu().numpy() for part in zip(*rereads, strict=True))
    return AnswerLikelihoods(logprobs, likeliest)


def _length(answer: Answer) -> int:
    return len(answer.prompt.ids) + max(len(answer.tokens) - 1, 0)
