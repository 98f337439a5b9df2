"""A worker process for tests: `python engine_process.py URL NOTES SLOT RESTARTS [DEADLY]`.

Each step adds a line to the file NOTES. The step named DEADLY ends the process then, which is
started anew up to RESTARTS times. It takes over from dead workers within a second.
"""

import os
import sys
import time
from pathlib import Path

from serving.engine import Client, Worker, child, sleep, step, workflow
from serving.slots import open_slots
from serving.takeover import Takeover

_, url, notes, slot, restarts, *deadly = sys.argv
DIED = 7


def note(text: str) -> str:
    with Path(notes).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")
    if text in deadly:
        os._exit(DIED)
    return text


@workflow("three-steps", restarts=5)
async def three_steps(work_id: str, name: str) -> None:
    for number in (1, 2, 3):
        await step(note, f"{name} {number}")


@workflow("part")
async def part(work_id: str, name: str) -> None:
    await step(note, f"{work_id} {name}")


@workflow("family")
async def family(work_id: str) -> None:
    ends = [await child(part, f"{work_id}/{name}", name) for name in ("a", "b", "a")]
    for ended in ends:
        await ended()
    await step(note, "all ended")


@workflow("sleeper")
async def sleeper(work_id: str) -> None:
    await step(note, "before")
    await sleep(2.0)
    await step(note, "after")


# Forked before the engine is there, so that what is imported is imported once.
for _ in range(int(restarts)):
    if (pid := os.fork()) == 0:
        break
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != DIED:
        sys.exit(1)
slots = open_slots(url, Path(notes).with_name("workers"))
with slots.taken(slot):
    worker = Worker(url, slot=slot, studies_at_once=1, log_level="critical")
    worker.launch()
    takeover = Takeover(slots, Client(url).busy_slots, worker.take_over)
    for _ in range(600):
        takeover.look()
        time.sleep(0.1)
