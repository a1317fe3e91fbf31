"""Connection: a server's address and model, and the flags that set them. Cheap to import."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_demo.errors import BadSetting

ENGINE = "--engine"
ENGINE_MODEL = "--engine-model"
EXPLAIN_WITH = "--explain-with"
ENGINE_HELP = "ask a server that speaks OpenAI's chat API in place of --model; its key: VLM_DEMO_ENGINE_KEY"
ENGINE_MODEL_HELP = "with --engine: as the server calls it; default: the first that it lists"
EXPLAIN_WITH_HELP = "with --engine: what reads its answers here, for heatmaps"


@dataclass(frozen=True)
class Connection:
    """A server, and what explains its answers.

    Attributes:
        address: with or without ``/v1``.
        model: as the server calls it; None = the first that it lists.
        explain_with: an embedded model's name, a folder or a hub id of what reads its answers here; None = nothing.
    """

    address: str
    model: str | None = None
    explain_with: str | None = None


def connection_of(engine: str | None, model: str | None, explain_with: str | None) -> Connection | None:
    """The connection that the three flags describe; None without any.

    Raises:
        BadSetting: the others are given without ``--engine``.
    """
    if engine:
        return Connection(engine, model or None, explain_with or None)
    for flag, given in ((ENGINE_MODEL, model), (EXPLAIN_WITH, explain_with)):
        if given:
            raise BadSetting(f"{flag} goes with {ENGINE} and a server's address.")
    return None
