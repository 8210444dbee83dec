"""Operations without I/O: what a flow asks for, given the answers."""

import json

import pytest

from s4client import S4Client, S4ConnectionError
from s4client.flow import Flow, Pause, Reply, Request, RetryPolicy
from s4client.operations import TenantOperations

UNAVAILABLE = json.dumps({"error": {"code": "service_unavailable", "message": "Busy."}}).encode()


def flow_of_a_search(policy: RetryPolicy) -> Flow[object]:
    client = S4Client(api_key="s4_key", retry=policy)
    return TenantOperations.search(client, "anything")


def test_a_repeat_waits_as_long_as_the_server_asks() -> None:
    flow = flow_of_a_search(RetryPolicy())
    request = next(flow)
    assert isinstance(request, Request)

    pause = flow.send(Reply(503, {"retry-after": "7"}, UNAVAILABLE))

    assert isinstance(pause, Pause)
    assert pause.seconds >= 7
    assert flow.send(None) == request


def test_clients_that_were_told_the_same_do_not_come_back_at_once() -> None:
    pauses = []
    for _ in range(100):
        flow = flow_of_a_search(RetryPolicy())
        next(flow)
        pause = flow.send(Reply(503, {"retry-after": "10"}, UNAVAILABLE))
        assert isinstance(pause, Pause)
        pauses.append(pause.seconds)

    assert 10 <= min(pauses) < 10.5 < 11.5 < max(pauses) <= 12


def test_repeats_are_bounded_and_their_pauses_grow_to_a_limit() -> None:
    flow = flow_of_a_search(RetryPolicy(attempts_max=6, pause_seconds=1, pause_max_seconds=4, uniform=lambda: 1.0))
    pauses = []
    next(flow)
    lost = S4ConnectionError("gone", sent=True)
    for _ in range(5):
        pause = flow.throw(lost)
        assert isinstance(pause, Pause)
        pauses.append(pause.seconds)
        assert isinstance(flow.send(None), Request)

    with pytest.raises(S4ConnectionError, match="gone"):
        flow.throw(lost)
    assert pauses == [1, 2, 4, 4, 4]
