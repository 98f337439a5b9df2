import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from imaging.errors import SetupError
from serving import web
from serving.health import answers
from tests.dicom_node.rig import free_port, wait_for
from tests.serving.bench import Bench


class Stream:
    """A client of the event stream."""

    def __init__(self, port: int, path: str = "/api/events", **headers: str) -> None:
        self._client = httpx.Client(timeout=10)
        url = f"http://127.0.0.1:{port}{path}"
        self._request = self._client.stream("GET", url, headers=headers)
        self._answer = self._request.__enter__()
        assert self._answer.headers["content-type"].startswith("text/event-stream")
        self._lines = self._answer.iter_lines()

    def next(self) -> dict[str, str]:
        fields = {}
        for line in self._lines:
            if not line and fields:
                return fields
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
        raise EOFError

    def close(self) -> None:
        self._request.__exit__(None, None, None)
        self._client.close()


@pytest.fixture
def port(make) -> Iterator[tuple[int, Bench]]:
    bench = make(web={"port": free_port()})
    stop = threading.Event()
    thread = threading.Thread(target=web.run, args=(bench.settings, stop))
    thread.start()
    wait_for(lambda: answers("127.0.0.1", bench.settings.web.port))
    yield bench.settings.web.port, bench
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_events_are_streamed(port):
    """As they happen, from now on; from an id on; and where a client lost its connection."""
    number, bench = port

    def happens(what: str) -> None:
        bench.journal.schedule(what, study_uid="1.2", content_digest="", priority=5)

    for what in ("first", "second"):
        happens(what)
    begun = time.monotonic()
    stream = Stream(number)
    happens("third")
    event = stream.next()
    assert time.monotonic() - begun < 10
    stream.close()
    assert (event["id"], event["event"]) == ("3", "scheduled")
    data = json.loads(event["data"])
    assert (data["id"], data["study_uid"], data["workitem_uid"]) == (3, "1.2", "third")

    for again in (
        Stream(number, "/api/events?after=1"),
        Stream(number, **{"Last-Event-ID": "1"}),
    ):
        assert [again.next()["id"] for _ in range(2)] == ["2", "3"]
        again.close()
    odd = Stream(number, **{"Last-Event-ID": "no number"})
    happens("fourth")
    assert odd.next()["id"] == "4"
    odd.close()


# The server ends its thread by SystemExit.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_taken_port_is_a_clear_error(port, make, tmp_path):
    number, _ = port
    with pytest.raises(SetupError, match=str(number)):
        web.run(Bench(tmp_path / "second", web={"port": number}).settings, threading.Event())
