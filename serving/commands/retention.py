"""`wetread retention`: what goes by the limits of ``[retention]``, and why the rest stays."""

import time
from collections import Counter
from datetime import UTC, datetime

from serving.commands.tables import empty_table, output
from serving.parts import Parts
from serving.retention import Candidate
from serving.settings import Settings
from serving.slots import RETENTION_SLOT

_MEGABYTE = 1 << 20


def retention(settings: Settings, *, dry_run: bool) -> int:
    """Show what is beyond the limits, and remove what may go.

    Raises
    ------
    SetupError
        A worker does so just now.
    """
    parts, now = Parts(settings), time.time()
    if not settings.retention.limited:
        output().print("No limit is set in [retention]: every study is kept.", highlight=False)
        return 0
    planned = parts.retention.plan(now)
    if planned:
        _show(planned)
    if dry_run:
        gone, did = [each for each in planned if each.kept is None], "would go"
    else:
        with parts.slots.taken(RETENTION_SLOT):
            gone, did = list(parts.retention.run(now)), "went"
    size = sum(each.size for each in gone) / _MEGABYTE
    text = (
        f"{len(gone)} studies {did}, {size:.1f} MB; {len(planned) - len(gone)} beyond a limit stay"
    )
    stay = Counter(each.kept for each in planned if each.kept)
    reasons = ", ".join(f"{number} {why}" for why, number in sorted(stay.items()))
    output().print(f"{text}: {reasons}" if reasons else text, highlight=False)
    return 0


def _show(planned: tuple[Candidate, ...]) -> None:
    table = empty_table("study", "last image", "MB", "limit", "stays because")
    for each in planned:
        last = datetime.fromtimestamp(each.last_received_at, UTC).strftime("%Y-%m-%d %H:%M")
        size = f"{each.size / _MEGABYTE:.1f}"
        table.add_row(each.study_uid, last, size, each.because, each.kept or "")
    output().print(table)
