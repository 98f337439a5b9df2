import threading
import time

import pytest

from serving.recent import Recent


def test_the_last_used_are_kept():
    computed, recent = [], Recent(2)

    def value(key: str) -> str:
        return recent.get(key, lambda: computed.append(key) or key)

    assert [value(key) for key in "abacab"] == list("abacab")
    assert computed == list("abcb")


def test_a_value_asked_for_at_once_is_computed_once():
    recent, computed, got = Recent(1), [], []
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> object:
        computed.append(1)
        begun.set()
        assert may_end.wait(5)
        return object()

    threads = [
        threading.Thread(target=lambda: got.append(recent.get("key", slow))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(5)
    time.sleep(0.05)
    may_end.set()
    for thread in threads:
        thread.join(5)
    assert len(computed) == 1
    assert len(got) == 4
    assert len(set(map(id, got))) == 1


def test_a_failure_reaches_everyone_and_is_not_kept():
    recent = Recent(1)

    def fails() -> str:
        raise OSError

    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011
            recent.get("key", fails)
    assert recent.get("key", lambda: "now") == "now"


def test_a_failure_does_not_take_the_value_of_a_later_attempt_away():
    recent, inside, go_on = Recent(1), threading.Event(), threading.Event()

    def fails() -> str:
        inside.set()
        assert go_on.wait(5)
        raise OSError

    def asks() -> None:
        with pytest.raises(OSError):  # noqa: PT011
            recent.get("key", fails)

    first = threading.Thread(target=asks)
    first.start()
    assert inside.wait(5)
    recent.get("other", lambda: "pushes the first out")
    assert recent.get("key", lambda: "kept") == "kept"
    go_on.set()
    first.join(5)
    assert recent.get("key", lambda: "computed again") == "kept"


def test_what_is_not_wanted_any_more_is_forgotten():
    recent: Recent[str] = Recent(4)
    for key in (("a", 1), ("a", 2), ("b", 1)):
        recent.get(key, lambda: "old")
    recent.keep(lambda key: key[0] == "b")
    assert [recent.get(key, lambda: "new") for key in (("a", 1), ("a", 2), ("b", 1))] == [
        "new",
        "new",
        "old",
    ]
