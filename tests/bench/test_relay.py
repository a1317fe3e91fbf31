"""The relay passes a server's answers on, and a network that falls silent or breaks is what its client takes it for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.kit.chat_server import ChatServer, chat_server
from tests.kit.engine_conformance import answered, make_request
from tests.kit.waiting import LONG
from vlm_demo.bench.relay import Relay
from vlm_demo.contracts import TokenEvent
from vlm_demo.engines.remote import RemoteEngine
from vlm_demo.engines.remote_server import server_at
from vlm_demo.errors import VlmDemoError


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(go=threading.Event()) as served:
        yield served


@pytest.fixture
def relay(server: ChatServer) -> Iterator[Relay]:
    between = Relay(urlsplit(server.address).port or 0)
    yield between
    between.cut()


def engine_of(relay: Relay) -> RemoteEngine:
    return RemoteEngine(server_at(f"127.0.0.1:{relay.port}", silent_seconds=0.5), "first")


def sentence_amid_an_answer(server: ChatServer, relay: Relay, harm: str) -> str:
    """What the client hears where the network is harmed at the first word, and the server goes on then."""
    with pytest.raises(VlmDemoError) as caught:
        for event in engine_of(relay).stream(make_request()):
            if isinstance(event, TokenEvent):
                assert event.text == "a"
                getattr(relay, harm)()
                server.odd.go.set()
    return str(caught.value)


def test_what_it_passes_on_is_whole(server: ChatServer, relay: Relay) -> None:
    server.odd.go.set()
    assert answered(engine_of(relay), make_request())[1].text == "a red square"


def test_a_silent_network_is_a_silent_server_and_is_there_again(server: ChatServer, relay: Relay) -> None:
    assert "has sent nothing for" in sentence_amid_an_answer(server, relay, "silence")
    with pytest.raises(VlmDemoError, match="has sent nothing for"):
        answered(engine_of(relay), make_request())
    relay.restore()
    assert answered(engine_of(relay), make_request())[1].text == "a red square"


def test_a_cut_network_breaks_the_answer_and_is_there_again(server: ChatServer, relay: Relay) -> None:
    assert "broke off in the middle" in sentence_amid_an_answer(server, relay, "cut")
    with pytest.raises(VlmDemoError, match="No server can be reached"):
        answered(engine_of(relay), make_request())
    relay.restore()
    assert answered(engine_of(relay), make_request())[1].text == "a red square"


def test_the_server_notices_that_the_network_is_cut(server: ChatServer, relay: Relay) -> None:
    with pytest.raises(VlmDemoError, match="broke off"):
        for event in engine_of(relay).stream(make_request()):
            if isinstance(event, TokenEvent):
                relay.cut()
    assert server.left.wait(LONG)


def test_without_a_server_behind_it_the_connection_is_lost(relay: Relay) -> None:
    alone = Relay(0)
    with pytest.raises(VlmDemoError, match="was lost before an answer came"):
        answered(engine_of(alone), make_request())
    alone.cut()
