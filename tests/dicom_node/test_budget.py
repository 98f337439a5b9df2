import pytest

from dicom_node import budget as module
from dicom_node.budget import Budget, Who

SENDER, STRANGER = Who("10.0.0.1", "CT1"), Who("10.0.0.9", "X")


@pytest.fixture
def budget() -> Budget:
    return Budget()


def test_strangers_share_what_is_in_the_bucket_and_then_wait(budget: Budget) -> None:
    assert budget.wait_s(STRANGER) == 0
    budget.spend(STRANGER, module._BUCKET_S + 0.05)
    assert 0 < budget.wait_s(STRANGER) <= 0.6
    assert budget.wait_s(SENDER) > 0
    budget.spend(STRANGER, 1000)
    assert budget.wait_s(STRANGER) == module._LONGEST_WAIT_S


def test_who_brings_instances_does_not_wait_for_the_others(budget: Budget) -> None:
    budget.earn(SENDER, 0.01)
    budget.spend(STRANGER, 1000)
    assert budget.wait_s(SENDER) == 0
    assert budget.wait_s(Who(SENDER.address)) == 0  # nor does its next connection
    assert budget.wait_s(Who(SENDER.address, "OTHER")) > 0
    budget.spend(SENDER, 0.03)
    assert budget.wait_s(SENDER) == 0
    budget.spend(SENDER, 0.02)
    assert budget.wait_s(SENDER) > 0


def test_credit_is_bounded(budget: Budget) -> None:
    for number in range(module._MOST_PEERS + 5):
        budget.earn(Who("10.0.0.1", str(number)), 100)
    assert len(budget._earned) <= module._MOST_PEERS
    budget.spend(STRANGER, 1000)
    last = Who("10.0.0.1", str(module._MOST_PEERS + 4))
    budget.spend(last, module._MOST_EARNED_S)
    assert budget.wait_s(last) > 0
