"""The whole deployment with Ray, where it is installed: two replicas, a death, a switch of models, an end."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

pytest.importorskip("ray")

from tests.kit import replica_engine
from tests.kit.pictures import png
from tests.kit.waiting import wait_until
from vlm_demo.errors import VlmDemoError
from vlm_demo.serving import running
from vlm_demo.serving.ray_app import EngineArgs, FrontArgs

PAUSE = 0.2  # seconds between two words of the slow model


def uri(number: int) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(f'#0000{number:02x}')).decode()}"


def question(number: int, model: str, **settings: Any) -> dict[str, Any]:
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": uri(number)}}]
    return {"model": model, "messages": [{"role": "user", "content": parts}], **settings}


class Client:
    """A client of the server."""

    def __init__(self, address: str) -> None:
        self.http = httpx2.Client(base_url=address, timeout=600, trust_env=False)

    def ask(self, number: int, model: str = "fast", **settings: Any) -> httpx2.Response:
        return self.http.post("/v1/chat/completions", json=question(number, model, **settings))

    def process(self, number: int, model: str = "fast") -> int:
        """Which process answers."""
        text = self.ask(number, model).json()["choices"][0]["message"]["content"]
        return int(re.match(r"process (\d+)", text)[1])


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    args = EngineArgs(model="fast", replicas=2, each=2, waiting=1)
    with running.started(FrontArgs(places=6), args, "127.0.0.1", port, None, replica_engine.engine) as served:
        client = Client(f"http://127.0.0.1:{port}")
        client.served = served
        yield client


def test_one_pictures_questions_go_to_one_replica_and_pictures_are_spread(client: Client) -> None:
    processes = {number: client.process(number) for number in range(12)}
    assert len(set(processes.values())) == 2
    assert {number: client.process(number) for number in processes} == processes


def test_a_stream_comes_as_openai_sends_it(client: Client) -> None:
    with client.http.stream("POST", "/v1/chat/completions", json=question(1, "fast", stream=True)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]" and json.loads(lines[1][6:])["choices"][0]["delta"]["content"] == "process"
    assert client.http.get("/healthz").status_code == 200
    assert 'status="200"' in client.http.get("/metrics").text


def test_a_killed_replica_is_replaced_without_an_error(client: Client) -> None:
    before = {number: client.process(number) for number in range(8)}
    killed = before[0]
    psutil.Process(killed).kill()
    after = {number: client.process(number) for number in range(8)}
    assert killed not in after.values()
    assert all(after[number] == process for number, process in before.items() if process != killed)
    assert wait_until(lambda: len({client.process(number) for number in range(12)}) == 2)


def test_models_are_switched_while_answers_are_written(client: Client, tmp_path: Path) -> None:
    slow = EngineArgs(model=f"slow:0:8:{tmp_path / 'go'}", replicas=2, each=2, waiting=1)
    assert running.switch(slow, None, replica_engine.engine) == "engine-1"
    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(client.ask, number, "slow") for number in range(2)]
        assert wait_until(lambda: client.served.open() == 2)
        args = EngineArgs(model="fast", replicas=2, each=2, waiting=1)
        switching = pool.submit(running.switch, args, None, replica_engine.engine)
        assert wait_until(lambda: client.served.front.serving.remote().result() == "engine-3")
        assert client.ask(1).status_code == 200
        gone = client.ask(1, "slow")
        assert gone.status_code == 404 and "fast" in gone.json()["error"]["message"]
        assert not any(answer.done() for answer in pending) and not switching.done()
        (tmp_path / "go").touch()
        for answer in pending:
            assert answer.result().json()["choices"][0]["message"]["content"].endswith("says" + " a" * 8)
        assert switching.result() == "engine-2"


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_in_service(client: Client) -> None:
    with pytest.raises(VlmDemoError, match="broken"):
        running.switch(EngineArgs(model="broken", replicas=1), None, replica_engine.engine)
    assert client.ask(1).status_code == 200


def test_a_full_server_refuses_and_a_disconnect_frees_a_place(client: Client) -> None:
    running.switch(EngineArgs(model=f"slow:{PAUSE}", replicas=2, each=2, waiting=1), None, replica_engine.engine)
    with ThreadPoolExecutor(12) as pool:
        answers = [answer.result() for answer in [pool.submit(client.ask, n, "slow") for n in range(12)]]
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 503} and statuses[503] >= 6
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert int(refused.headers["retry-after"]) >= 1 and "try again" in refused.json()["error"]["message"]


def test_work_ends_where_the_client_leaves(client: Client) -> None:
    args = EngineArgs(model=f"slow:{PAUSE}:1000", replicas=1, each=2, waiting=1)  # would write for minutes
    running.switch(args, None, replica_engine.engine)
    request = question(1, "slow", stream=True)
    with client.http.stream("POST", "/v1/chat/completions", json=request) as response:
        assert next(line for line in response.iter_lines() if line) and client.served.open() == 1
    assert wait_until(lambda: client.served.open() == 0)
    # The replica answers one request at a time: the second would wait minutes for the first.
    with client.http.stream("POST", "/v1/chat/completions", json=request) as response:
        assert next(line for line in response.iter_lines() if line)
