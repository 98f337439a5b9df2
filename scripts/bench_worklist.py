"""Pages of the worklist against the number of studies to be read.

    python -m scripts.bench_worklist [--studies 1000 10000 100000] [--rounds 15] [--postgresql]

Studies with two findings each, one analysis, by chance of thirty days; nothing is assessed. Prints
the median milliseconds of a page of 50 and of the figures of the day, and the ratio to the first.
"""

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from dicom_node import schema
from dicom_node.index import Index
from imaging.findings import Urgency
from scripts.postgres import Postgres
from serving.assessments import Assessments
from serving.precedence import settle_all
from serving.room.figures import figures_since
from serving.room.worklist import Wanted, Worklist

_DAY_S = 86400.0
_PER_PAGE = 50
_AT_ONCE = 2000
_WANTED: Mapping[str, Wanted] = {
    "first page": Wanted(),
    "assessed or not": Wanted(read=None),
    "text, common": Wanted(text="doe"),
    "text, one study": Wanted(text="PID-17"),
    "with findings": Wanted(with_findings=True),
    "waiting": Wanted(state="waiting"),
    "analysing": Wanted(state="analysing"),
}


def fill(engine: sa.Engine, number: int, now: float) -> None:
    """Write rows as the work leaves them."""
    rng = random.Random(number)  # noqa: S311 - not for secrets
    with schema.writing(engine) as db:
        for start in range(0, number, _AT_ONCE):
            uids = [f"1.2.826.{n}" for n in range(start, min(number, start + _AT_ONCE))]
            db.execute(sa.insert(schema.studies), [_study(u, now, rng) for u in uids])
            db.execute(sa.insert(schema.workitems), [_workitem(u, now, rng) for u in uids])
            found = [_finding(u, place, rng) for u in uids for place in (1, 2)]
            db.execute(sa.insert(schema.findings), found)


def _blank(table: sa.Table) -> dict[str, Any]:
    return {c.name: "" for c in table.c if isinstance(c.type, sa.Text) and not c.nullable}


def _study(uid: str, now: float, rng: random.Random) -> dict[str, Any]:
    at = now - rng.uniform(0, 30 * _DAY_S)
    return _blank(schema.studies) | {
        "study_uid": uid,
        "patient_id": f"PID-{uid.rsplit('.', 1)[1]}",
        "patient_name": f"{rng.choice(['Doe', 'Roe', 'Poe'])}^{uid[-3:]}",
        "study_date": time.strftime("%Y%m%d", time.gmtime(at)),
        "first_received_at": at,
        "last_received_at": at + 60,
        "received": 100,
        "state": "complete",
    }


def _workitem(uid: str, now: float, rng: random.Random) -> dict[str, Any]:
    return _blank(schema.workitems) | {
        "workitem_uid": f"{uid}-w",
        "study_uid": uid,
        "state": rng.choice(["SCHEDULED", "IN PROGRESS"]),
        "priority": rng.choice([1, 3, 5, 5, 5, 5, 5, 5]),
        "created_at": now,
        "timings": {},
    }


def _finding(uid: str, place: int, rng: random.Random) -> dict[str, Any]:
    content = {
        "workitem_uid": f"{uid}-w",
        "series_uid": f"{uid}.1",
        "model": "m",
        "tracking_uid": f"{uid}.9.{place}",
        "concept": "Glioma",
        "statement": "Glioma",
        "urgency": rng.choice(list(Urgency)),
        "probability": rng.random(),
        "key_instance": None,
    }
    named = ("workitem_uid", "tracking_uid", "series_uid", "model")
    return {name: content[name] for name in named} | {"study_uid": uid, "content": content}


def median_ms(ask: Callable[[], object], rounds: int) -> float:
    """Return the median time of asking, after once without looking at the clock."""
    ask()
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        ask()
        took.append(1000 * (time.perf_counter() - start))
    return statistics.median(took)


def measured(engine: sa.Engine, number: int, rounds: int) -> Mapping[str, float]:
    """Return milliseconds by what was asked, on a new database."""
    schema.upgrade(engine)
    now = time.time()
    fill(engine, number, now)
    start = time.perf_counter()
    settle_all(engine, "default")
    found = {"upgrade of all, once": 1000 * (time.perf_counter() - start)}
    index = Index(engine)
    worklist = Worklist(index)
    assessments = Assessments(engine, tenant="default", clock=time.time)
    for name, wanted in _WANTED.items():
        page = lambda wanted=wanted: worklist.page(wanted, now=now, limit=_PER_PAGE)  # noqa: E731
        found[name] = median_ms(page, rounds)
    deep = lambda: worklist.page(Wanted(), now=now, limit=_PER_PAGE, offset=900)  # noqa: E731
    found["page 19"] = median_ms(deep, rounds)
    found["figures"] = median_ms(lambda: figures_since(index, assessments, now - _DAY_S), rounds)
    return found


def show(columns: Mapping[int, Mapping[str, float]]) -> None:
    """Print medians by number of studies, and the last to the first."""
    sizes = list(columns)
    print("| | " + " | ".join(f"{n:,}" for n in sizes) + " | last / first |")
    print("|---" * (len(sizes) + 2) + "|")
    for name in columns[sizes[0]]:
        row = [columns[n][name] for n in sizes]
        print(f"| {name} | {' | '.join(f'{v:.1f}' for v in row)} | {row[-1] / row[0]:.1f} |")


def main(arguments: Sequence[str]) -> int:
    """Measure each size on a new database."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--studies", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args(arguments)
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    columns = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Postgres(folder / "postgresql") if given.postgresql else None
        try:
            for n in given.studies:
                url = server.new_database(f"n{n}") if server else f"sqlite:///{folder}/{n}.db"
                engine = schema.connect(url)
                columns[n] = measured(engine, n, given.rounds)
                engine.dispose()
        finally:
            if server:
                server.stop()
    show(columns)
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
