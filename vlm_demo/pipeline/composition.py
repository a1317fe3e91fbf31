"""Composition: a loaded checkpoint → the parts that do its work, and its properties that need no forward pass.

    answering   what writes answers: ``staged``, whose stages are known, or ``whole``, which answers in one piece
    scoring     what compares pictures with texts

Each is None where the model has no such part; a part has nothing that its kind of model can't do.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from torch import Tensor

from vlm_demo.checks.calibration import read_calibration
from vlm_demo.checks.latency import Machine
from vlm_demo.checks.legible_height import read_legibility
from vlm_demo.contracts import BridgeInfo, Memory, View
from vlm_demo.contracts.checkpoint_settings import read_settings
from vlm_demo.errors import UnsupportedModel
from vlm_demo.explain import out_of_distribution
from vlm_demo.images.remote_pictures import NOTHING, RemotePictures
from vlm_demo.models import quantization
from vlm_demo.models.loading import Loaded
from vlm_demo.pipeline.scoring import ScoringModel
from vlm_demo.pipeline.staged import StagedModel
from vlm_demo.pipeline.whole import WholeModel
from vlm_demo.runtime.cancellation import CancellationHooks
from vlm_demo.runtime.feature_cache import belongs
from vlm_demo.runtime.lru_store import LruStore, budget_for
from vlm_demo.stages.ocr import OcrReader
from vlm_demo.stages.view import ViewMaker


class ComposedModel:
    """A loaded checkpoint and its parts: ``view`` opens pictures as it sees them, ``reader`` reads text in them, and
    ``remembered`` caches what was computed of both."""

    def __init__(
        self,
        loaded: Loaded,
        remember: int | None = None,
        remote: RemotePictures = NOTHING,
        own_thread: bool = False,
    ) -> None:
        family = loaded.family
        self.name, self.family, self.precision = loaded.name, family.name, loaded.precision
        self.folder, self.settings_folder = loaded.folder, loaded.settings_folder
        self.device, self.model = loaded.device, loaded.model
        self.tokenizer, self.image_processor = loaded.tokenizer, loaded.image_processor
        budget = budget_for(quantization.stored_bytes(loaded.model)) if remember is None else remember
        self.remembered = LruStore(budget)
        self.reader = OcrReader(self.remembered)
        guard = CancellationHooks(loaded.device, own_thread)
        guard.watch(family.encoder_layers)
        self.view = ViewMaker(loaded.image_processor, family.cut, remote)
        self.bridge_info: BridgeInfo = family.bridge_info  # how pictures get into the language model
        self.scoring: ScoringModel | None = None
        self.answering: StagedModel | WholeModel | None = None
        if family.matcher is not None:
            self.scoring = ScoringModel(loaded, family, family.matcher, guard, self.view, self.remembered)
        if family.as_a_whole:
            self.answering = WholeModel(loaded, family, guard)
        elif family.writes:
            self.answering = StagedModel(
                loaded,
                family,
                guard,
                self.view,
                self.remembered,
                self.scoring.relevancy if self.scoring else None,
                read_settings(loaded.folder),
                read_calibration(loaded.folder),
            )
        self._training_pictures = out_of_distribution.load(loaded.folder)
        self.legibility = read_legibility(loaded.folder)
        self._keep_unquantized = family.keep_unquantized

    @property
    def can_answer(self) -> bool:
        """Whether the model writes answers."""
        return self.answering is not None

    @property
    def can_score(self) -> bool:
        """Whether the model compares pictures with texts."""
        return self.scoring is not None

    @property
    def can_explain(self) -> bool:
        """Whether answers have heatmaps."""
        return self.answering is not None and self.answering.explains

    @property
    def can_hold_json(self) -> bool:
        """Whether answers can be held to a JSON schema (``Sampling.schema``)."""
        return self.answering is not None and self.answering.holds_json

    @property
    def can_batch(self) -> bool:
        """Whether tokens of several answers can be computed together."""
        return isinstance(self.answering, StagedModel) and self.answering.llm.batches

    @property
    def parameters(self) -> int:
        """How many weights the model has."""
        return self.model.num_parameters()

    def stages(self) -> StagedModel:
        """The stages that an answer goes through: ``view``, ``prompt``, ``encoder``, ``bridge``, ``llm``.

        Raises:
            UnsupportedModel: the model writes no answers, or its stages are not known.
        """
        model = self.part_that_answers()
        if isinstance(model, WholeModel):
            raise UnsupportedModel(f"{self.bridge_info.text}: choose a model whose stages are known.")
        return model

    def forget(self, visitor: str | None = None) -> None:
        """Remember no picture and no prompt of this visitor (``Request.visitor``) any more; None = of anybody."""
        if visitor is None:
            self.remembered.clear()
        else:
            self.remembered.drop_where(lambda key: belongs(key, visitor))

    def memory(self) -> Memory:
        """Parameter bytes as they are stored, and the process's resident memory, measured now."""
        return Memory(self._stored_bytes, quantization.process_bytes())

    @cached_property
    def _stored_bytes(self) -> int:
        """Counted once, for a model has thousands of modules."""
        return quantization.stored_bytes(self.model, *(self.scoring.matcher.parts if self.scoring else ()))

    def on_this_machine(self) -> Machine:
        """What the checklist has to know of this model here."""
        room = quantization.room_on(self.device)
        return Machine(self.precision, room, self.device.type != "cpu", self._in_fewer_bits)

    @cached_property
    def _in_fewer_bits(self) -> dict[str, int]:
        """Bytes of the weights by precision, counted once."""
        return quantization.in_fewer_bits(self.model, self._keep_unquantized, self.device)

    def in_distribution(self, view: View) -> float | None:
        """How much a picture looks like what the model was trained on, 0..1; None where the checkpoint can't say."""
        has_stages = isinstance(self.scoring or self.answering, ScoringModel | StagedModel)
        if self._training_pictures is None or not has_stages:
            return None
        return self._training_pictures.score(self.softened_patches(view))

    def softened_patches(self, view: View) -> Tensor:
        """Patch features [patches, channels] of the picture as ``out_of_distribution`` compares it, ``softened``;
        without the tokens that some encoders have before those of the patches."""
        model = self.scoring or self.stages()
        sharp = self.view.with_pixels(view)
        soft = replace(sharp, pixel_values=out_of_distribution.softened(sharp.pixel_values))
        (patches,), _ = model.features.patches([soft])
        return patches.features[0, model.family.leading_tokens :].cpu()

    def part_that_answers(self) -> StagedModel | WholeModel:
        """``answering``.

        Raises:
            UnsupportedModel: the model writes no answers.
        """
        if self.answering is None:
            raise UnsupportedModel(
                f"{self.name} compares pictures with texts; it can't write answers. Use score, or choose a model that "
                "writes, such as llava."
            )
        return self.answering

    def part_that_scores(self) -> ScoringModel:
        """``scoring``.

        Raises:
            UnsupportedModel: the model has nothing to compare pictures with texts.
        """
        if self.scoring is None:
            raise UnsupportedModel(
                f"{self.name} writes answers; it has no part that compares pictures with texts. Use ask, or choose a "
                "model that can, such as clip or blip2."
            )
        return self.scoring
