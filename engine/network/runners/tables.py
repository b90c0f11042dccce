"""Layout ``shared`` as static graphs of every context: a run is a sample, its frames and tables.

The graphs (`engine.network.chain`) have room for so many contexts of each level. A sample goes to
the smallest one that has room for its own; what is left is filler, of which the tables say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.base.recipe import Recipe
from engine.network.backend import Array, TablesBackend
from engine.network.contexts import PADDING, contexts, moved
from engine.network.om import Interface
from engine.network.runners.planned import PlannedRunner
from engine.skeletons.clips import HeatmapClips


class TablesRunner(PlannedRunner):
    """`recipe` and `views` as of a `PlannedRunner`; `strides`: of the network's levels;
    `interface`: of its files."""

    def __init__(
        self,
        backend: TablesBackend,
        classes: int,
        recipe: Recipe,
        views: int,
        strides: tuple[int, ...],
        interface: Interface,
    ) -> None:
        self._strides, self._levels = strides, interface.levels
        super().__init__(backend, classes, recipe, views)

    def _size(self, clips: HeatmapClips) -> int | None:
        rows = (1 + clips.twins) * np.array(contexts(clips.plan, self._strides).rows)
        return next(
            (
                size
                for size in self._backend.sizes
                if (rows <= np.array([size, *self._levels[size]])).all()
            ),
            None,
        )

    def _inputs(self, lane: int, size: int) -> tuple[Array, ...]:
        assert isinstance(self._backend, TablesBackend)
        return self._backend.tabled(lane, size)

    def _place(self, clips: HeatmapClips, size: int, others: Sequence[Array]) -> None:
        found, halves = contexts(clips.plan, self._strides), np.arange(1 + clips.twins)
        *tables, weights = others
        below, room = found.frames, size
        for table, level in zip(tables, found.levels, strict=True):
            sources = moved([level.sources] * len(halves), below * halves)
            table[:] = 0  # filler is of the first row
            table[:, : len(sources)] = np.where(sources == PADDING, room, sources).T
            below, room = len(level), table.shape[1]
        weights[:] = 0
        rows = found.clips[found.inverse] + below * halves[:, None, None]
        for clip, positions in enumerate(rows.reshape(-1, rows.shape[-1])):
            np.add.at(weights[clip], positions, np.float32(1 / len(positions)))
