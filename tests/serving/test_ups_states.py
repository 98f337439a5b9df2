"""The state machine of PS3.4 table CC.1.1-2, every cell of it."""

import pytest

from serving.ups.states import Key, State, cancel, change, key_of, update

SCHEDULED, PROGRESS, COMPLETED, CANCELED = State
OK = 0
# By what is wanted and how the transaction UID fits: the status in each of the four states.
TABLE = {
    (SCHEDULED, Key.RIGHT): (0xC303, 0xC303, 0xC303, 0xC303),
    (SCHEDULED, Key.WRONG): (0xC303, 0xC303, 0xC303, 0xC303),
    (SCHEDULED, Key.MISSING): (0xC303, 0xC303, 0xC303, 0xC303),
    (PROGRESS, Key.RIGHT): (OK, 0xC302, 0xC300, 0xC300),
    (PROGRESS, Key.WRONG): (0xC301, 0xC301, 0xC301, 0xC301),
    (PROGRESS, Key.MISSING): (0xC301, 0xC301, 0xC301, 0xC301),
    (COMPLETED, Key.RIGHT): (0xC310, OK, 0xB306, 0xC300),
    (COMPLETED, Key.WRONG): (0xC301, 0xC301, 0xC301, 0xC301),
    (COMPLETED, Key.MISSING): (0xC301, 0xC301, 0xC301, 0xC301),
    (CANCELED, Key.RIGHT): (0xC310, OK, 0xC300, 0xB304),
    (CANCELED, Key.WRONG): (0xC301, 0xC301, 0xC301, 0xC301),
    (CANCELED, Key.MISSING): (0xC301, 0xC301, 0xC301, 0xC301),
}
CELLS = [
    pytest.param(state, wanted, key, status, id=f"{state} to {wanted}, {key.value} key")
    for (wanted, key), statuses in TABLE.items()
    for state, status in zip(State, statuses, strict=True)
]


@pytest.mark.parametrize(("state", "wanted", "key", "status"), CELLS)
def test_a_change_of_state(state: State, wanted: State, key: Key, status: int):
    ruling = change(state, wanted, key)
    assert ruling.status == status
    assert ruling.refused == (status >> 12 == 0xC)
    assert bool(ruling.warning) == (status != OK)


@pytest.mark.parametrize(
    ("state", "status", "http"),
    [(SCHEDULED, OK, 202), (PROGRESS, OK, 202), (COMPLETED, 0xC311, 409), (CANCELED, 0xB304, 200)],
)
def test_a_request_to_cancel(state: State, status: int, http: int):
    assert (cancel(state).status, cancel(state).http) == (status, http)


@pytest.mark.parametrize(
    ("state", "key", "status"),
    [
        *((SCHEDULED, key, OK) for key in Key),
        (PROGRESS, Key.RIGHT, OK),
        (PROGRESS, Key.WRONG, 0xC301),
        (PROGRESS, Key.MISSING, 0xC301),
        *((state, key, 0xC300) for state in (COMPLETED, CANCELED) for key in Key),
    ],
)
def test_setting_attributes(state: State, key: Key, status: int):
    assert update(state, key).status == status


@pytest.mark.parametrize(
    ("held", "given", "state", "key"),
    [
        (None, "1.2", SCHEDULED, Key.RIGHT),
        (None, "", SCHEDULED, Key.MISSING),
        ("1.2", "1.2", PROGRESS, Key.RIGHT),
        ("1.2", "1.3", PROGRESS, Key.WRONG),
        ("1.2", "", PROGRESS, Key.MISSING),
        (None, "1.2", CANCELED, Key.WRONG),
    ],
)
def test_how_a_transaction_uid_fits(held: str | None, given: str, state: State, key: Key):
    assert key_of(held, given, state) is key
