"""QIDO-RS: searching for studies, series and instances (PS3.18 10.6)."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dicom_node.changes import Changes
from dicom_node.documents import Documents
from dicom_node.searching import Level, Row, Search, Searches
from imaging.dicom_json import JsonDataset
from imaging.errors import NotFound
from serving.dicomweb.accept import DICOM_JSON, require
from serving.dicomweb.bodies import base_of
from serving.dicomweb.modules import SERIES_TAGS, STUDY_TAGS
from serving.dicomweb.query import Query, query_of
from serving.dicomweb.rows import (
    instance_of,
    merged,
    requests_of,
    series_of,
    study_of,
    summary_of,
)

_JSON = "application/json"
_ANSWERS_KEPT, _LARGEST_KEPT = 64, 1 << 20
_MOST_DOCUMENTS = 200  # series that are looked into for the attributes of one answer
_MORE = "There are additional results that can be requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """An answer, and the state of the database that it was found in."""

    body: bytes
    more: bool
    counter: int | None


class Qido:
    """The search transactions on one index."""

    def __init__(self, searches: Searches, documents: Documents, changes: Changes) -> None:
        self._searches, self._documents, self._changes = searches, documents, changes
        self._answers: OrderedDict[str, _Answer] = OrderedDict()

    async def studies(self, request: Request) -> Response:
        """Search for studies."""
        return await self._answer(request, Level.STUDY)

    async def series(self, request: Request) -> Response:
        """Search for series."""
        return await self._answer(request, Level.SERIES)

    async def instances(self, request: Request) -> Response:
        """Search for instances."""
        return await self._answer(request, Level.INSTANCE)

    async def _answer(self, request: Request, level: Level) -> Response:
        media_type = require(request, DICOM_JSON, _JSON)
        asked, counter = str(request.url), self._changes.now()
        found = self._answers.get(asked)
        if found is None or counter is None or found.counter != counter:
            query, base = query_of(request, level), base_of(request)
            found = await asyncio.to_thread(self._found, query, base, request.path_params)
            self._keep(asked, replace(found, counter=counter))
        headers = {"Cache-Control": "no-store"}
        if found.more:
            headers["Warning"] = f'299 {request.url.netloc} "{_MORE}"'
        return Response(found.body, media_type=media_type, headers=headers)

    def _keep(self, asked: str, found: "_Answer") -> None:
        """Keep an answer for who asks the same before anything has changed: lists are polled."""
        if found.counter is None or len(found.body) > _LARGEST_KEPT:
            return
        self._answers[asked] = found
        self._answers.move_to_end(asked)
        if len(self._answers) > _ANSWERS_KEPT:
            self._answers.popitem(last=False)

    def _found(self, query: Query, base: str, path: dict[str, str]) -> "_Answer":
        found = self._searches.find(query.search)
        datasets = self._datasets(query.search, found.rows, base=base, path=path)
        if query.include or query.include_all:
            self._include(query, found.rows, datasets)
        text = json.dumps(datasets, separators=(",", ":"), ensure_ascii=False)
        return _Answer(body=text.encode("utf-8", "replace"), more=found.more, counter=None)

    def _datasets(
        self, search: Search, rows: Sequence[Row], *, base: str, path: dict[str, str]
    ) -> list[JsonDataset]:
        if search.level is Level.STUDY:
            summaries = self._searches.summaries(row["study_uid"] for row in rows)
            return [
                merged(study_of(row, base), summary_of(summaries[row["study_uid"]])) for row in rows
            ]
        requests = self._searches.requests({row["series_uid"] for row in rows})
        found = []
        for row in rows:
            parts = [] if search.level is Level.SERIES else [instance_of(row, base)]
            if search.level is Level.SERIES or "series" not in path:
                ordered = requests.get((row["study_uid"], row["series_uid"]), ())
                parts += [series_of(row, base), requests_of(ordered)]
            if "study" not in path:
                parts.append(study_of(row, base))
            found.append(merged(*parts))
        return found

    def _include(self, query: Query, rows: Sequence[Row], datasets: Sequence[JsonDataset]) -> None:
        """Add what was asked for beside the usual, from the metadata of each series."""
        level = query.search.level
        allowed = STUDY_TAGS if level is Level.STUDY else STUDY_TAGS | SERIES_TAGS
        if level is not Level.INSTANCE and not query.include_all and not query.include & allowed:
            return
        sources = self._sources(level, rows)
        for row, dataset in zip(rows, datasets, strict=True):
            for tag, element in _source(sources, level, row).items():
                wanted = query.include_all or tag in query.include
                if wanted and tag not in dataset and (level is Level.INSTANCE or tag in allowed):
                    dataset[tag] = element
            ordered = dict(sorted(dataset.items()))
            dataset.clear()
            dataset.update(ordered)

    def _sources(self, level: Level, rows: Sequence[Row]) -> dict[str, Any]:
        if level is Level.STUDY:
            summaries = self._searches.summaries(row["study_uid"] for row in rows)
            places = {study: found[0].series_uid for study, found in summaries.items() if found}
            pairs = set(places.items())
        else:
            pairs = {(row["study_uid"], row["series_uid"]) for row in rows}
        if len(pairs) > _MOST_DOCUMENTS:
            msg = f"includefield takes at most {_MOST_DOCUMENTS} series at once; use limit"
            raise HTTPException(413, msg)
        return {pair[level > Level.STUDY]: self._metadata(*pair) for pair in pairs}

    def _metadata(self, study_uid: str, series_uid: str) -> dict[str, JsonDataset]:
        try:
            document = self._documents.of_series(study_uid, series_uid)
        except NotFound:  # it has gone since
            return {}
        return {each["00080018"]["Value"][0]: each for each in json.loads(document.plain())}


def _source(sources: dict[str, Any], level: Level, row: Row) -> JsonDataset:
    """Return the metadata that stand for a row: its own, or those of the first instance below."""
    below = sources.get(row["study_uid"] if level is Level.STUDY else row["series_uid"], {})
    if level is Level.INSTANCE:
        own: JsonDataset = below.get(row["instance_uid"], {})
        return own
    return next(iter(below.values()), {})
