"""Running: start the applications of Ray Serve, switch their model, and end them when the last answer has ended."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from vlm_demo.errors import VlmDemoError
from vlm_demo.serving.front import ENGINES
from vlm_demo.serving.ray_app import DRAIN, FRONT, EngineArgs, FrontArgs, Load, front, load_local, replicas, statuses

SWITCH_TIMEOUT = 60.0  # seconds that a front has to switch to an engine that runs
POLL_INTERVAL = 0.25  # seconds
ERROR = re.compile(r"[\w.]*(Error|vlm_demo\.errors\.\w+): ")  # before an error's sentence, as Python writes it
# Environment of Ray's processes. While models are loaded, a machine is slower than Ray expects.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # answers are what these processes are for
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
}


@dataclass(frozen=True)
class Served:
    """The running deployment, reached through its ``front``, and the address of its Ray ``cluster``: host and port."""

    front: DeploymentHandle
    cluster: str

    def open(self) -> int:
        """How many requests are answered or wait."""
        return self.front.open.remote().result()

    def end(self) -> None:
        """Admit no more requests, and wait until all that are open have their answers, DRAIN seconds at most."""
        self.front.close.remote().result()
        _wait_for(lambda: self.open() == 0, DRAIN)


@contextmanager
def started(
    front_args: FrontArgs, engine_args: EngineArgs, host: str, port: int, cluster: str | None, load: Load = load_local
) -> Iterator[Served]:
    """Serve until the block ends, and then until the answers that have begun are complete.

    Args:
        cluster: the address of one that runs; None = one is started here, and ended again.
    Raises:
        VlmDemoError: no replica could be started; says where to look.
    """
    _connect(cluster, engine_args.replicas)
    try:
        serve.start(proxy_location="EveryNode", http_options={"host": host, "port": port})
        _deploy(engine_args, f"{ENGINES}1", load)
        handle = serve.run(front(front_args), name=FRONT, route_prefix="/")
        _wait_for(lambda: handle.serving.remote().result() is not None, SWITCH_TIMEOUT)
        served = Served(handle, ray.get_runtime_context().gcs_address)
        try:
            yield served
        finally:
            served.end()
    finally:
        serve.shutdown()
        ray.shutdown()


def switch(args: EngineArgs, cluster: str | None, load: Load = load_local) -> str | None:
    """Load a model alongside the one that answers, switch to it, and delete the old one after its last answer.

    Args:
        cluster: where it runs; None = this process is connected already.
    Returns:
        The name of the application that was deleted; None where there was none.
    Raises:
        VlmDemoError: nothing is served there, or the new model can't be loaded: then the old one goes on.
    """
    if cluster is not None:
        _connect(cluster)
    known = statuses()
    if FRONT not in known:
        raise VlmDemoError("Nothing is served there: start it with python -m vlm_demo serve.")
    handle = serve.get_app_handle(FRONT)
    old = handle.serving.remote().result()
    numbers = [int(name.removeprefix(ENGINES)) for name in known if name.startswith(ENGINES)]
    new = f"{ENGINES}{max(numbers, default=0) + 1}"
    _deploy(args, new, load)
    _wait_for(lambda: handle.serving.remote().result() == new, SWITCH_TIMEOUT)
    if old:
        _wait_for(lambda: handle.open_requests.remote(old).result() == 0, DRAIN)
        serve.delete(old)
    return old


def _deploy(args: EngineArgs, name: str, load: Load) -> None:
    try:
        serve.run(replicas(args, load), name=name, route_prefix=None)
    except Exception as error:  # Ray raises many kinds
        message = _last_error(name) or str(error)
        serve.delete(name)
        raise VlmDemoError(f"{args.model} could not be loaded in a replica: {message}") from None


def _last_error(name: str) -> str:
    """The last error of a replica that could not be started."""
    application = serve.status().applications.get(name)
    lines = (
        [line for deployment in application.deployments.values() for line in deployment.message.splitlines()]
        if application
        else []
    )
    message = next((line.strip() for line in reversed(lines) if ERROR.match(line.strip())), "")
    return ERROR.sub("", message)


def _connect(cluster: str | None, replicas: int = 0) -> None:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster is None:
        # Ray's count of processors only limits how many replicas fit: those of the next model have to fit alongside.
        options |= {"num_cpus": max(os.cpu_count() or 1, 2 * replicas), "include_dashboard": False}
        options |= {"_system_config": {"automatic_object_spilling_enabled": False}}  # no picture goes to a disk
    try:
        ray.init(cluster or "local", **options)
    except ConnectionError:
        where = "on this machine" if cluster == "auto" else f"at {cluster}"
        raise VlmDemoError(f"No cluster of Ray answers {where}: start one with ray start --head.") from None


def _wait_for(done: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not done() and time.monotonic() < until:
        time.sleep(POLL_INTERVAL)
