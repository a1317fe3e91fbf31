"""Ray app: the front and the replicas as applications of Ray Serve, which starts, watches and replaces their processes.

    program ─▶ Ray's proxy ─▶ Front ─▶ ConsistentHashRouter ─▶ Replica (engine and caches), Replica, ...

A switch of models deploys the new one alongside the old one, as a separate application: the front switches to it once
all its replicas run, and the old one is deleted when its last answer has ended.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.exceptions import RayActorError, TaskCancelledError
from ray.serve import Application
from ray.serve.config import RequestRouterConfig
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette
from starlette.types import Message

from vlm_demo.api.access import MOST_WAITING, Access, Places
from vlm_demo.api.image_hosts import ImageHosts
from vlm_demo.api.model_requests import RequestOutcome
from vlm_demo.api.openai_server import OpenAiServer
from vlm_demo.contracts.engine import Engine
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.images import remote_pictures
from vlm_demo.serving import in_process
from vlm_demo.serving.admission import Admission
from vlm_demo.serving.front import BEGUN, DIED, FACTS, ForwardedRequest, Front, ReplicaDied, TooMany, newest
from vlm_demo.serving.metrics import Facts, Metrics, added

FRONT = "front"
AUTH_VARIABLE = "VLM_DEMO_AUTH"  # USER:PASSWORD, as the page's; the password is the key
ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
FALLBACK_REPLICAS = 1  # replicas that are tried next where the picture's replica is full
# How long a replica may take to report its queue length; one that computes is slow to, and would lose its pictures to
# another where it counts as full after Ray's tenth of a second.
QUEUE_LENGTH_DEADLINES = dict.fromkeys(
    ("RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S", "RAY_SERVE_MAX_QUEUE_LENGTH_RESPONSE_DEADLINE_S"), "5"
)
DRAIN = 600.0  # seconds that a replica has to end what it has begun
MAX_STARTS = 3  # attempts to start a replica
POLL_INTERVAL = 1.0  # seconds between two polls of which engines run
MOST_OPEN = 4096  # requests that Ray admits to a front at a time; its places are the real limit

Load = Callable[["EngineArgs"], Engine]


class EngineArgs(BaseModel):
    """One model and its replicas; ``model``, ``quantize`` and ``device`` as in the app.

    ``each`` is how many requests a replica holds, running or queued, before the next ones go to another. ``cpus`` and
    ``gpus`` are what Ray reserves for a replica; it computes with ``cpus`` threads.
    """

    model_config = ConfigDict(extra="forbid")

    model: str = "llava"
    quantize: str = "none"
    device: str | None = None
    replicas: int = Field(1, ge=1)
    each: int = Field(8, ge=1, le=MOST_WAITING)
    waiting: int = Field(16, ge=0)
    cpus: float = 1
    gpus: float = 0
    image_hosts: str = ""


class FrontArgs(BaseModel):
    """The front: ``places`` requests may be answered or wait. Without ``affinity`` pictures go anywhere."""

    model_config = ConfigDict(extra="forbid")

    places: int = 24
    affinity: bool = True


def load_local(args: EngineArgs) -> Engine:
    """Load the pipeline in the replica's process."""
    from vlm_demo.engines import local

    return local.load(args.model, args.quantize, args.device, image_hosts=remote_pictures.hosts_of(args.image_hosts))


class _Replica:
    """One engine in a separate process, behind the same routes as the page's server."""

    def __init__(self, args: EngineArgs, load: Load) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix=f"vlm_demo_{os.getpid()}_")
        os.environ["VLM_DEMO_TEMP_DIR"] = self._temporary.name
        service = ModelRegistry(load(args), lambda *_: load(args), args.model, args.quantize)
        access = Access(None, ImageHosts(remote_pictures.RemotePictures(remote_pictures.hosts_of(args.image_hosts))))
        server = OpenAiServer(service, access, Places(service), self._record)
        self._application = Starlette(routes=server.routes())
        self._facts = Facts()

    async def ask(self, forwarded: dict[str, Any]) -> AsyncGenerator[Message]:
        """See `serving.front.Replicas.ask`."""
        yield {"type": BEGUN, "process": os.getpid()}
        answer = in_process.answered(
            self._application, forwarded["method"], forwarded["path"], forwarded["headers"], forwarded["body"]
        )
        try:
            async for message in answer:
                yield message
        finally:
            await answer.aclose()
        facts, self._facts = self._facts, Facts()
        yield {"type": FACTS, "facts": dataclasses.asdict(facts)}

    def _record(self, outcome: RequestOutcome) -> None:
        prompt = len(outcome.answer.prompt.ids)
        self._facts = added(self._facts, Facts(1, outcome.known > 0, prompt, outcome.known, outcome.written))


class _RayReplicas:
    """The replicas of one application, reached through Ray."""

    def __init__(self, name: str, handle: DeploymentHandle) -> None:
        self.name, self._handle = name, handle

    async def ask(self, forwarded: ForwardedRequest) -> AsyncGenerator[Message]:
        options: dict[str, Any] = {"stream": True, "method_name": "ask"}
        if forwarded.key:
            options["session_id"] = forwarded.key
        plain = {
            "method": forwarded.method,
            "path": forwarded.path,
            "headers": list(forwarded.headers),
            "body": forwarded.body,
        }
        response = self._handle.options(**options).remote(plain)
        ended = False
        try:
            async for message in response:
                yield message
            ended = True
        except BackPressureError:
            ended = True
            raise TooMany from None
        except (RayActorError, DeploymentUnavailableError, TaskCancelledError, RequestCancelledError):
            ended = True
            raise ReplicaDied(DIED) from None
        finally:
            if not ended:
                response.cancel()


class _Front:
    """The front's process: the server's address, and a poll every second of which engine is the newest that runs."""

    def __init__(self, args: FrontArgs) -> None:
        password = os.environ.get(AUTH_VARIABLE, "").partition(":")[2]
        name = serve.get_replica_context().replica_id.unique_id
        self.front = Front(Access(password or None), Admission(args.places), Metrics(name), args.affinity)
        self._replicas: dict[str, _RayReplicas] = {}
        self._polling = asyncio.get_running_loop().create_task(self._poll())

    def __serve_build_asgi_app__(self) -> Starlette:  # Ray asks for it by this name
        return self.front.application()

    async def _poll(self) -> None:
        while True:
            with suppress(Exception):  # the controller is being restarted; what is known stays in use
                await self._update(await asyncio.to_thread(statuses))
            await asyncio.sleep(POLL_INTERVAL)

    async def _update(self, statuses_by_name: dict[str, str]) -> None:
        name = newest(statuses_by_name, self.serving())
        if name and name not in self._replicas:
            handle = await asyncio.to_thread(serve.get_app_handle, name)
            self._replicas[name] = _RayReplicas(name, handle)
        self.front.replicas = self._replicas.get(name or "")
        for gone in [
            old
            for old, replicas in self._replicas.items()
            if old not in statuses_by_name and not self.front.open_requests(replicas)
        ]:
            del self._replicas[gone]

    def serving(self) -> str | None:
        """The engine application that new requests go to."""
        return next((name for name, replicas in self._replicas.items() if replicas is self.front.replicas), None)

    def open_requests(self, name: str) -> int:
        """How many requests an engine application still holds."""
        return self.front.open_requests(self._replicas[name]) if name in self._replicas else 0

    def open(self) -> int:
        """How many requests are answered or wait."""
        return self.front.admission.open

    def close(self) -> None:
        """Admit no more requests."""
        self.front.admission.close()


def statuses() -> dict[str, str]:
    """Every application of this cluster and its status."""
    return {name: application.status.value for name, application in serve.status().applications.items()}


def engine(args: EngineArgs | dict[str, Any]) -> Application:
    """The application of one model, which has no route; a front finds it by its name, ``ENGINES`` and a number.
    ``args`` may be a dict, as a Ray Serve config file gives it."""
    return replicas(EngineArgs.model_validate(args))


def replicas(args: EngineArgs, load: Load = load_local) -> Application:
    """The same; ``load`` creates the engine of each replica, in its process."""
    deployment = serve.deployment(_Replica).options(
        name="replica",
        num_replicas=args.replicas,
        max_ongoing_requests=args.each,
        # All that the front admits: where its route to the replicas is new, each request queues there for a moment.
        max_queued_requests=args.replicas * args.each + args.waiting,
        max_constructor_retry_count=MAX_STARTS,
        graceful_shutdown_timeout_s=DRAIN,
        ray_actor_options={"num_cpus": args.cpus, "num_gpus": args.gpus},
        request_router_config=RequestRouterConfig(
            request_router_class=ROUTER, request_router_kwargs={"num_fallback_replicas": FALLBACK_REPLICAS}
        ),
    )
    return deployment.bind(args, load)


def front(args: FrontArgs | dict[str, Any]) -> Application:
    """The application that programs reach; ``args`` as `engine` takes them."""
    args = FrontArgs.model_validate(args)
    deployment = serve.deployment(serve.ingress()(_Front)).options(
        name=FRONT,
        num_replicas=1,  # it alone counts the open requests; see DEPLOY.md for more
        max_ongoing_requests=MOST_OPEN,
        graceful_shutdown_timeout_s=DRAIN,
        ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": QUEUE_LENGTH_DEADLINES}},
    )
    return deployment.bind(args)
