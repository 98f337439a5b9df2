"""Subscribers of the worklist hear of every change, in order, also of what they missed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from serving.ups.subscriptions import ALL, FILTERED
from tests.builders import mr_series
from tests.serving.dicomweb_site import Site, running
from tests.serving.test_operations import complete
from tests.serving.ups_steps import (
    CLAIM,
    cancel,
    coded,
    create,
    done,
    given_up,
    state,
    to,
    update,
)

KINDS = {1: "state", 2: "cancel", 3: "progress", 5: "assigned"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(Site(tmp_path)) as made:
        yield made


def subscribe(site: Site, uid: str, title: str, query: str = "") -> str:
    answer = site.client.post(f"/workitems/{uid}/subscribers/{title}{query}")
    assert answer.status_code == 201, answer.text
    place: str = answer.headers["content-location"]
    assert place == f"ws://127.0.0.1:{site.port}/dicomweb/ws/subscribers/{title}"
    return place


def channel(place: str, **options: Any) -> ClientConnection:
    return connect(place, proxy=None, **options)


def heard(socket: ClientConnection) -> tuple[str, str, str]:
    """Return of the next report what it is about, its kind, and the state if it tells one."""
    report = json.loads(socket.recv(timeout=60))
    assert report["00000002"]["Value"] == ["1.2.840.10008.5.1.4.34.6.1"]
    (uid,), (kind,) = report["00001000"]["Value"], report["00001002"]["Value"]
    (told,) = report.get("00741000", {"Value": [""]})["Value"]
    return uid, KINDS[kind], told


def test_every_change_is_reported_in_order(site: Site):
    with channel(subscribe(site, ALL, "READER")) as socket:
        uid = create(site)
        assert heard(socket) == (uid, "state", "SCHEDULED")
        state(site, uid, to("IN PROGRESS"))
        assert heard(socket) == (uid, "state", "IN PROGRESS")
        progress = Dataset()
        progress.ProcedureStepProgress = 50
        half = Dataset()
        half.ProcedureStepProgressInformationSequence = [progress]
        update(site, uid, half, CLAIM)
        assert heard(socket) == (uid, "progress", "")
        update(site, uid, done(), CLAIM)  # of this there is no report
        state(site, uid, to("COMPLETED"))
        assert heard(socket) == (uid, "state", "COMPLETED")


def test_what_happens_while_a_subscriber_is_away_is_kept(tmp_path: Path):
    with running(Site(tmp_path)) as site:
        subscribe(site, ALL, "READER")
        uid = create(site)
        cancel(site, uid)
    with running(Site(tmp_path)) as site:  # another process
        place = f"ws://127.0.0.1:{site.port}/dicomweb/subscribers/READER"
        with channel(place) as socket:
            assert heard(socket) == (uid, "state", "SCHEDULED")
            assert heard(socket) == (uid, "state", "CANCELED")
            other = create(site)
            assert heard(socket) == (other, "state", "SCHEDULED")


def test_one_workitem_is_watched(site: Site):
    mine, other = create(site), create(site)
    state(site, mine, to("IN PROGRESS"))
    with channel(subscribe(site, mine, "READER")) as socket:
        assert heard(socket) == (mine, "state", "IN PROGRESS")  # how it stands now
        cancel(site, other)
        update(site, mine, given_up(), CLAIM)
        assert heard(socket) == (mine, "progress", "")
        state(site, mine, to("CANCELED"))
        assert heard(socket) == (mine, "state", "CANCELED")
    gone = f"/workitems/{mine}/subscribers/READER"
    assert site.client.delete(gone).status_code == 200
    assert site.client.delete(gone).status_code == 404


def test_one_of_all_is_left_out(site: Site):
    left_out = create(site)
    with channel(subscribe(site, ALL, "READER")) as socket:
        path = f"/workitems/{left_out}/subscribers/READER"
        assert site.client.delete(path).status_code == 200
        cancel(site, left_out)
        uid = create(site)
        assert heard(socket) == (uid, "state", "SCHEDULED")
        subscribe(site, left_out, "READER")
        assert heard(socket) == (left_out, "state", "CANCELED")


def test_a_suspended_subscription_goes_on_for_what_is_there(site: Site):
    early = create(site)
    with channel(subscribe(site, ALL, "READER")) as socket:
        answer = site.client.post(f"/workitems/{ALL}/subscribers/READER/suspend")
        assert answer.status_code == 200
        create(site)
        cancel(site, early)
        assert heard(socket) == (early, "state", "CANCELED")
    assert site.client.post(f"/workitems/{ALL}/subscribers/OTHER/suspend").status_code == 404
    assert site.client.post(f"/workitems/{early}/subscribers/READER/suspend").status_code == 400
    assert site.client.delete(f"/workitems/{ALL}/subscribers/READER").status_code == 200
    assert site.client.delete(f"/workitems/{ALL}/subscribers/READER").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "?ScheduledProcedureStepPriority=HIGH&deletionlock=false",
        "?00741200=HIGH",
        "?filter=ScheduledProcedureStepPriority=HIGH,PatientID=P2",
    ],
)
def test_only_what_matches_is_watched(site: Site, query: str):
    with channel(subscribe(site, FILTERED, "READER", query)) as socket:
        create(site)
        uid = create(site, ScheduledProcedureStepPriority="HIGH")
        assert heard(socket) == (uid, "state", "SCHEDULED")


def test_who_performs_is_asked_to_cancel(site: Site):
    uid, why = create(site), Dataset()
    state(site, uid, to("IN PROGRESS"))
    with channel(subscribe(site, uid, "PERFORMER")) as socket:
        assert heard(socket)[1:] == ("state", "IN PROGRESS")
        why.ReasonForCancellation = "ordered twice"
        why.ContactDisplayName = "Front desk"
        assert cancel(site, uid, why).status_code == 202
        report = json.loads(socket.recv(timeout=60))
    assert report["00001002"]["Value"] == [2]
    assert report["00741238"]["Value"] == ["ordered twice"]
    assert report["0074100C"]["Value"] == ["Front desk"]


def test_an_assignment_is_reported(site: Site):
    with channel(subscribe(site, ALL, "READER")) as socket:
        uid = create(site, ScheduledStationNameCodeSequence=[coded("WS1", "99SITE", "First")])
        assert [heard(socket) for _ in range(2)] == [
            (uid, "state", "SCHEDULED"),
            (uid, "assigned", ""),
        ]


def test_analyses_are_reported(site: Site):
    with channel(subscribe(site, ALL, "READER")) as socket:
        site.keep(mr_series((3, 8, 8), StudyInstanceUID="1.2.3"))
        site.index, site.journal = site.parts.index, site.parts.journal
        complete(site, "1.2.3")
        uid, kind, told = heard(socket)
        assert (kind, told) == ("state", "SCHEDULED")
        workitem = site.journal.workitems()[0].workitem_uid
        site.journal.begin(workitem)
        assert heard(socket) == (uid, "state", "IN PROGRESS")
        site.journal.end(workitem, "COMPLETED", None)
        assert heard(socket) == (uid, "state", "COMPLETED")


def test_what_cannot_be_watched(site: Site):
    uid = create(site)
    for path, status in (
        ("1.2.840.404/subscribers/READER", 404),
        (f"{uid}/subscribers/A_TITLE_THAT_IS_TOO_LONG", 400),
        (f"{FILTERED}/subscribers/READER", 400),
        (f"{FILTERED}/subscribers/READER?Nonsense=1", 400),
    ):
        assert site.client.post(f"/workitems/{path}").status_code == status, path


def test_pages_of_other_sites_open_no_channel(site: Site):
    place = subscribe(site, ALL, "READER")
    with pytest.raises(InvalidStatus) as refused:
        channel(place, origin="http://elsewhere.example")
    assert refused.value.response.status_code == 403
    with channel(place, origin=f"http://127.0.0.1:{site.port}") as socket:
        assert heard_of(site, socket)


def test_a_name_that_was_made_to_point_here_opens_no_channel(site: Site):
    handshake = {
        "Host": "elsewhere.example",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert site.client.get("/ws/subscribers/READER", headers=handshake).status_code == 403


def heard_of(site: Site, socket: ClientConnection) -> bool:
    uid = create(site)
    return heard(socket) == (uid, "state", "SCHEDULED")
