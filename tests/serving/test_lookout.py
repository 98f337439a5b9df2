import asyncio
import time

from serving.lookout import Lookout
from tests.dicom_node.rig import wait_for

LOOK_S = 0.02


class Destination:
    """Answers, or not, as `problem` says."""

    def __init__(self, problem: str | None = "away") -> None:
        self.problem, self.asked = problem, 0

    def probe(self, _name: str) -> str | None:
        self.asked += 1
        return self.problem


def lookout(destination: Destination) -> Lookout:
    return Lookout(destination.probe, look_s=LOOK_S, at_once=1)


async def waiting(watched: Lookout, number: int) -> list[asyncio.Task[None]]:
    started = [asyncio.create_task(watched.wait("pacs", 60)) for _ in range(number)]
    await asyncio.sleep(0)
    return started


def test_all_who_wait_are_woken_when_a_destination_answers_again():
    async def scene() -> None:
        pacs = Destination()
        watched = lookout(pacs)
        tasks = await waiting(watched, 3)
        await asyncio.to_thread(wait_for, lambda: pacs.asked >= 3)
        assert not any(task.done() for task in tasks)
        pacs.problem = None
        await asyncio.wait_for(asyncio.gather(*tasks), 30)

    asyncio.run(scene())


def test_one_that_answers_and_takes_nothing_gets_a_scout_only():
    async def scene() -> None:
        pacs = Destination(None)
        watched = lookout(pacs)
        await asyncio.gather(*await waiting(watched, 1))  # the first answer counts as a return
        tasks = await waiting(watched, 3)
        await asyncio.wait_for(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED), 30)
        assert [task.done() for task in tasks] == [True, False, False]
        watched.arrived("pacs")
        await asyncio.wait_for(asyncio.gather(*tasks), 30)

    asyncio.run(scene())


def test_without_an_answer_the_time_decides():
    async def scene() -> None:
        began = time.monotonic()
        await lookout(Destination()).wait("pacs", 3 * LOOK_S)
        assert time.monotonic() - began >= 3 * LOOK_S

    asyncio.run(scene())


def test_nobody_is_asked_for_whom_nothing_waits():
    async def scene() -> None:
        pacs = Destination(None)
        watched = lookout(pacs)
        await watched.wait("pacs", 60)
        await asyncio.sleep(5 * LOOK_S)
        asked = pacs.asked
        await asyncio.sleep(5 * LOOK_S)
        assert pacs.asked == asked

    asyncio.run(scene())
