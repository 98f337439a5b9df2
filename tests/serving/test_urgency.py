import pytest

from imaging.findings import Urgency
from serving.records import ReasonRecord
from serving.urgency import head_start_h, priority_h, standing
from tests.serving.room.rows import finding

HOUR = 3600.0


def test_waiting_counts_by_the_hour_up_to_a_limit():
    def waits(hours: float) -> float:
        return standing((), priority=5, waiting_s=hours * HOUR).points

    assert waits(2.5) == 2.5
    assert waits(500) == 12
    assert waits(-1) == 0


@pytest.mark.parametrize(
    ("urgency", "probability", "hours"),
    [
        (Urgency.CRITICAL, 0.5, 24),
        (Urgency.CRITICAL, None, 48),
        (Urgency.URGENT, 0.9, 21.6),
        (Urgency.ROUTINE, 1.0, 0),
        (Urgency.NORMAL, 1.0, 0),
    ],
)
def test_a_finding_gives_its_head_start_times_its_probability(urgency, probability, hours):
    assert head_start_h(finding(urgency=urgency, probability=probability)) == pytest.approx(hours)


def test_the_largest_head_start_counts_and_is_named():
    small = finding(urgency=Urgency.URGENT, probability=0.3)
    large = finding(urgency=Urgency.CRITICAL, probability=0.9, concept="Bleeding")
    found = standing((small, large), priority=5, waiting_s=0)
    assert found.finding == large
    assert found.points == pytest.approx(43.2)


def test_what_a_reader_rejected_or_a_model_left_open_gives_none():
    why = ReasonRecord(code="LOW_CONFIDENCE", text="unsure")
    assert head_start_h(finding(urgency=Urgency.CRITICAL, abstained=why)) == 0
    urgent = finding(urgency=Urgency.URGENT, tracking_uid="1.7")
    rejected = standing((urgent,), priority=5, waiting_s=0, rejected=frozenset(["1.7"]))
    assert (rejected.points, rejected.finding) == (0, None)


def test_priority_gives_a_head_start():
    assert [priority_h(number) for number in (0, 1, 2, 4, 5, 9)] == [36, 36, 12, 12, 0, 0]


def test_new_and_urgent_comes_before_old_and_unremarkable():
    new = standing((finding(urgency=Urgency.URGENT, probability=0.8),), priority=5, waiting_s=60)
    old = standing((), priority=5, waiting_s=30 * 24 * HOUR)
    assert new.points > old.points
