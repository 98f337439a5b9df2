import pytest

from serving.records import MeasurementRecord, ReasonRecord
from serving.room.prior import EarlierFinding, changes
from tests.serving.room.rows import finding


def measured(value: float, unit: str = "ml", **fields: object):
    volume = MeasurementRecord(name="Volume", value=value, unit=unit)
    return finding(measurements=(volume,), concept="Brain", model_digest="a", **fields)


def earlier(value: float, date: str = "20230101", **fields: object) -> EarlierFinding:
    return EarlierFinding(study_uid=f"1.{date}", date=date, finding=measured(value, **fields))


def test_the_newest_earlier_value_of_the_same_quantity():
    (change,) = changes(measured(110.0), [earlier(100.0, "20230101"), earlier(50.0, "20200101")])
    assert (change.now, change.then, change.date) == (110, 100, "20230101")
    assert change.absolute == pytest.approx(10)
    assert change.percent == pytest.approx(10)
    assert change.same_version


@pytest.mark.parametrize(
    "other",
    [
        earlier(1.0, unit="cm3"),
        earlier(1.0, model="another"),
        earlier(1.0, tracking_id="m/Left"),
        earlier(1.0, abstained=ReasonRecord(code="LOW_CONFIDENCE", text="unsure")),
    ],
)
def test_another_quantity_is_not_compared(other):
    assert changes(measured(110.0), [other]) == ()


def test_a_change_of_model_version_is_said():
    old = earlier(100.0)
    old = EarlierFinding(
        study_uid="1",
        date="20230101",
        finding=old.finding.model_copy(update={"model_digest": "b"}),
    )
    (change,) = changes(measured(110.0), [old])
    assert not change.same_version


def test_from_nothing_there_is_no_percentage():
    (change,) = changes(measured(5.0), [earlier(0.0)])
    assert (change.absolute, change.percent) == (5.0, None)
