"""The stream of training samples, in an order that only seed and step decide."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

Tensor = torch.Tensor
Sample = tuple[Tensor, Tensor]
Maker = Callable[[int], Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Steps `first` to before `last` of a run, and what makes their samples."""

    first: int
    last: int
    maker: Maker


class _ByStep(Dataset[Sample]):
    """Sample `i` of all that the steps need; made where it is asked for."""

    def __init__(self, span: Span, *, batch: int, seed: int) -> None:
        self._span, self._batch = span, batch
        self._base = seed * 1_000_003

    def __len__(self) -> int:
        return (self._span.last - self._span.first) * self._batch

    @override
    def __getitem__(self, index: int) -> Sample:
        return self._span.maker(self._base + self._span.first * self._batch + index)


def batches(span: Span, *, batch: int, seed: int, workers: int) -> Iterator[Sample]:
    """Yield a batch for each step of `span`, made in other processes while the network learns."""
    data = _ByStep(span, batch=batch, seed=seed)
    yield from DataLoader(
        data, batch_size=batch, shuffle=False, num_workers=workers,
        worker_init_fn=_one_thread, prefetch_factor=4 if workers else None,
    )  # fmt: skip


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
