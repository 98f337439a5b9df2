"""What is shown of a study while results of it come in."""

import time
from pathlib import Path
from typing import Any

from typing_extensions import override

from serving.journal import Journal
from serving.records import Result
from serving.study_view import StudyViews
from tests.serving.bench import Bench, mr
from tests.serving.test_api import close


class Growing(Journal):
    """A journal to which a result is added while a view of its study is made."""

    asked = 0

    @override
    def results(self, **which: Any) -> tuple[Result, ...]:
        self.asked += 1
        found = super().results(**which)
        return found[:-1] if self.asked <= 2 else found


def test_a_result_that_comes_meanwhile_is_shown_the_next_time(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.install()
    study_uid = bench.analysed(mr())
    close(bench, study_uid)
    growing = Growing(bench.index.engine, tenant=bench.index.tenant, clock=time.time)
    views = StudyViews(bench.index, growing)
    whole = len(bench.journal.results(study_uid=study_uid))
    assert len(views.detail(study_uid).results) == whole - 1
    assert len(views.detail(study_uid).results) == whole
