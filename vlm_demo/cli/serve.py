"""`python -m vlm_demo serve`: many copies of a model behind one address, on one machine or on a cluster of Ray."""

from __future__ import annotations

import importlib.util
import signal
import threading
from typing import Annotated

import typer

from vlm_demo.cli.command import Command, application
from vlm_demo.cli.options import AllowImageHost, Device, Model, Quantize
from vlm_demo.errors import VlmDemoError

INSTALL = 'pip install "ray[serve]==2.60.0"'
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)

app = application()


@app.command(cls=Command)
def serve(
    model: Model = "llava",
    replicas: Annotated[int, typer.Option(min=1, metavar="N", help="processes that hold the model")] = 2,
    quantize: Quantize = "none",
    device: Device = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="where to listen")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="where to listen")] = 8000,
    each: Annotated[int, typer.Option(min=1, max=16, metavar="N", help="requests that a replica holds at a time")] = 8,
    waiting: Annotated[int, typer.Option(min=0, metavar="N", help="requests that wait beside these")] = 16,
    affinity: Annotated[
        bool, typer.Option("--affinity/--no-affinity", help="one picture's questions go to one replica")
    ] = True,
    allow_image_host: AllowImageHost = "",
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="of Ray, that runs; default: one is started here")
    ] = None,
    switch: Annotated[
        bool, typer.Option("--switch", help="have a server that runs turn to --model, loaded beside the old one")
    ] = False,
) -> None:
    """Serve a model from several processes, at an address that speaks OpenAI's chat API, until stopped."""
    if importlib.util.find_spec("ray") is None:
        raise VlmDemoError(f"serve needs a package more: {INSTALL}")
    from vlm_demo.serving import running
    from vlm_demo.serving.ray_app import EngineArgs, FrontArgs

    engine = EngineArgs(
        model=model,
        quantize=quantize,
        device=device,
        replicas=replicas,
        each=each,
        waiting=waiting,
        image_hosts=allow_image_host,
    )
    if switch:
        old = running.switch(engine, cluster or "auto")
        print(f"{model} answers now; {old} has been taken away." if old else f"{model} answers now.")
        return
    print(f"Loading {model} in {replicas} processes ...", flush=True)
    ended = threading.Event()
    front = FrontArgs(places=replicas * each + waiting, affinity=affinity)
    with running.started(front, engine, host, port, cluster) as served:
        for number in END_SIGNALS:  # only now, for Ray installs its handlers when it starts
            signal.signal(number, lambda *_: ended.set())
        print(f"Ready: http://{host}:{port}/v1", flush=True)
        print(f"Another model: python -m vlm_demo serve --switch --cluster {served.cluster} --model NAME", flush=True)
        while not ended.wait(0.5):
            pass
        print(f"Ending: {served.open()} requests are answered still.", flush=True)
