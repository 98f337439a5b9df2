"""Metadata of series as DICOM JSON, made from the files once and then kept (PS3.18 10.4.1.1.2).

Storing an instance does not wait for it: a document is made when first asked for, and completed
when instances have come since. What it says of an instance is also where its frames lie.
"""

import gzip
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from dicom_node.archive import Archive
from dicom_node.changes import Changes
from dicom_node.index import Index
from dicom_node.records import StoredInstance
from dicom_node.schema import instances, series_documents, writing
from dicom_node.web_instance import WebInstance, described, of_json, to_json
from imaging.errors import NotFound

_KEPT, _PLAIN_KEPT = 64, 8  # series
_LEVEL = 6  # of compression


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesDocument:
    """The metadata of a series, a JSON array in gzip, and what is in it by instance UID."""

    series_uid: str
    version: str
    gzipped: bytes
    instances: Mapping[str, WebInstance]

    def plain(self) -> bytes:
        """Return the JSON array."""
        return gzip.decompress(self.gzipped)

    def of(self, instance_uid: str) -> bytes:
        """Return the JSON array of one instance."""
        found = self.instances[instance_uid]
        return b"[" + self.plain()[found.start : found.end] + b"]"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A document, and the state of the database in which it was found current."""

    document: SeriesDocument
    counter: int | None


_Key = tuple[str, str]


class Documents:
    """The documents of one archive; safe to share between threads."""

    def __init__(self, index: Index, archive: Archive, changes: Changes) -> None:
        self._index, self._archive, self._changes = index, archive, changes
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._plain: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._making, self._keeping = threading.Lock(), threading.Lock()

    def of_series(self, study_uid: str, series_uid: str) -> SeriesDocument:
        """Return the document of a series as it is now.

        Raises
        ------
        NotFound
            There is no such series.
        """
        key, counter = (study_uid, series_uid), self._changes.now()
        version = self._version(key)
        found = self._known(key)
        if found is not None and found.document.version == version:
            return self._keep(key, _Kept(document=found.document, counter=counter))
        with self._making:  # it takes the interpreter, so two at once would not be faster
            return self._current(key, counter)

    def at_once(self, study_uid: str, series_uid: str) -> SeriesDocument | None:
        """Return the document if it is here and nothing has changed since; asks nobody else."""
        kept, counter = self._known((study_uid, series_uid)), self._changes.now()
        return kept.document if kept and counter is not None and kept.counter == counter else None

    def known(self, study_uid: str, series_uid: str, instance_uid: str) -> WebInstance | None:
        """Return what is known of one instance if it is here; instances never change."""
        kept = self._known((study_uid, series_uid))
        return kept.document.instances.get(instance_uid) if kept else None

    def plain(self, document: SeriesDocument) -> bytes:
        """Return the JSON array of a document; that of the last few is kept."""
        key = (document.series_uid, document.version)
        with self._keeping:
            found = self._plain.get(key)
        if found is None:
            found = document.plain()
            with self._keeping:
                self._plain[key] = found
                while len(self._plain) > _PLAIN_KEPT:
                    self._plain.popitem(last=False)
        return found

    def of_study(self, study_uid: str) -> Sequence[SeriesDocument]:
        """Return the documents of every series; errors as `of_series`."""
        found = [row.series_uid for row in self._index.series_of(study_uid) if row.instances]
        if not found:
            msg = f"study {study_uid} is not here"
            raise NotFound(msg)
        return [self.of_series(study_uid, series_uid) for series_uid in found]

    def instance(self, study_uid: str, series_uid: str, instance_uid: str) -> WebInstance:
        """Return what is known of one instance.

        Raises
        ------
        NotFound
            It is not here, or not in this series.
        """
        known = self.known(study_uid, series_uid, instance_uid)
        if known is not None:
            return known
        found = self.of_series(study_uid, series_uid).instances.get(instance_uid)
        if found is None:
            msg = f"instance {instance_uid} is not here"
            raise NotFound(msg)
        return found

    def file(self, path: str) -> Path:
        """Return where a file of the archive lies."""
        return self._archive.file(path)

    def _known(self, key: _Key) -> "_Kept | None":
        with self._keeping:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: _Key, kept: "_Kept") -> SeriesDocument:
        with self._keeping:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return kept.document

    def _version(self, key: _Key) -> str:
        """Return what changes when an instance comes or goes."""
        query = sa.select(sa.func.count(), sa.func.max(instances.c.received_at)).where(
            instances.c.tenant == self._index.tenant,
            instances.c.study_uid == key[0],
            instances.c.series_uid == key[1],
        )
        with self._index.engine.connect() as connection:
            count, latest = connection.execute(query).one()
        if not count:
            msg = f"series {key[1]} is not here"
            raise NotFound(msg)
        return f"{count}/{latest!r}"

    def _current(self, key: _Key, counter: int | None) -> SeriesDocument:
        version = self._version(key)
        stored = self._stored(key)
        if stored is None or stored.version != version:
            stored = self._made(key, version, stored)
            self._store(key, stored)
        return self._keep(key, _Kept(document=stored, counter=counter))

    def _stored(self, key: _Key) -> SeriesDocument | None:
        table = series_documents
        query = sa.select(table).where(*self._where(key))
        with self._index.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        contents = json.loads(gzip.decompress(row.contents))
        return SeriesDocument(
            series_uid=key[1],
            version=row.version,
            gzipped=row.document,
            instances={uid: of_json(uid, each) for uid, each in contents.items()},
        )

    def _made(self, key: _Key, version: str, old: SeriesDocument | None) -> SeriesDocument:
        rows = self._index.instances_of(*key)
        texts = _texts(old)
        found: dict[str, WebInstance] = {}
        parts: list[bytes] = []
        at = 1
        for row in rows:
            known = old.instances.get(row.instance_uid) if old else None
            if known is None or known.path != row.path:
                known, text = self._described(row)
            else:
                text = texts[row.instance_uid]
            found[row.instance_uid] = known.placed(at, at + len(text))
            parts.append(text)
            at += len(text) + 1
        gzipped = gzip.compress(b"[" + b",".join(parts) + b"]", _LEVEL, mtime=0)
        return SeriesDocument(series_uid=key[1], version=version, gzipped=gzipped, instances=found)

    def _described(self, row: StoredInstance) -> tuple[WebInstance, bytes]:
        try:
            return described(row, self._archive.file(row.path))
        except FileNotFoundError as error:
            msg = f"the archive has no file {row.path}"
            raise NotFound(msg) from error

    def _store(self, key: _Key, document: SeriesDocument) -> None:
        contents = {uid: to_json(each) for uid, each in document.instances.items()}
        row: dict[str, Any] = {
            "tenant": self._index.tenant,
            "study_uid": key[0],
            "series_uid": key[1],
            "version": document.version,
            "document": document.gzipped,
            "contents": gzip.compress(json.dumps(contents).encode(), _LEVEL, mtime=0),
        }
        with writing(self._index.engine) as connection:
            connection.execute(sa.delete(series_documents).where(*self._where(key)))
            connection.execute(sa.insert(series_documents).values(**row))

    def _where(self, key: _Key) -> list[sa.ColumnElement[bool]]:
        column = series_documents.c
        return [
            column.tenant == self._index.tenant,
            column.study_uid == key[0],
            column.series_uid == key[1],
        ]


def _texts(document: SeriesDocument | None) -> Mapping[str, bytes]:
    if document is None:
        return {}
    plain = document.plain()
    return {uid: plain[each.start : each.end] for uid, each in document.instances.items()}
