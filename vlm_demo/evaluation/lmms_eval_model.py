"""lmms-eval's model: an Engine, as that package calls one. Imported by it alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from tqdm import tqdm

from vlm_demo.contracts.engine import answered
from vlm_demo.engines import local, remote
from vlm_demo.engines.connection import connection_of
from vlm_demo.errors import BadImage, BadQuestion
from vlm_demo.evaluation import lmms_eval

log = logging.getLogger(__name__)


class Model(lmms):
    """Answers conversations, one at a time.

    Args:
        model: an embedded model's name, a folder or a hub id.
        quantize: ``none``, ``8bit`` or ``4bit``.
        device: as torch writes it; None = the best there is.
        ocr, evidence_only: for every question, as ``contracts.engine.Request`` has them.
        engine, engine_model: a server's address in place of ``model``, and one of its models.
        batch_size, max_batch_size: are given by lmms-eval, and make no difference.
    """

    is_simple = False

    def __init__(
        self,
        model: str = "llava",
        quantize: str = "none",
        device: str | None = None,
        ocr: bool = False,
        evidence_only: bool = False,
        engine: str | None = None,
        engine_model: str | None = None,
        batch_size: int = 1,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        server = connection_of(engine, engine_model, None)
        self.engine = remote.connect(server) if server else local.load(model, quantize, device)
        self.ocr, self.evidence_only = ocr, evidence_only

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """An answer a request, in their order. What the engine refuses, a prompt too long or a damaged picture, gets an
        empty one, which is wrong."""
        results = []
        for instance in tqdm(requests, desc="Questions", disable=self.rank != 0):
            _, messages, decoding, number, task, split = instance.args
            try:
                request = lmms_eval.conversation(messages(self.task_dict[task][split][number]), decoding)
                request = replace(request, ocr=self.ocr, evidence_only=self.evidence_only)
                answer = answered(self.engine.stream(request))
            except (BadQuestion, BadImage) as error:
                log.warning("%s, document %s: %s", task, number, error)
                results.append(GenerationResult(""))
                continue
            counts = TokenCounts(len(answer.prompt.ids) or None, len(answer.tokens))
            results.append(GenerationResult(answer.text, counts))
        return results

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        raise NotImplementedError("vlm_demo takes part in no tasks by likelihood: leave them out of --tasks.")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        raise NotImplementedError("vlm_demo takes part in no tasks of several rounds: leave them out of --tasks.")
