"""Snapshots: where everything is at a moment, for people and logs, when nothing moves.

Comes in: the lease table and the children. Goes out: a dict of JSON types, and the lines that spell
it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from engine.base.events import event
from engine.base.host import process_status
from engine.runtime.leases import LeaseTable
from engine.runtime.processes import Child

log = logging.getLogger("engine")


def snapshot(
    table: LeaseTable, children: Iterable[Child], guests: Iterable[str], now: float
) -> dict[str, Any]:
    """Leases, queues and processes at the time `now`. Ages in seconds, memory in bytes."""
    return {
        "leases": [
            {
                "lease": lease.number,
                "sample": lease.task.index,
                "stage": lease.stage.name.lower(),
                "holder": lease.holder,
                "age": round(now - lease.granted, 3),
                "deaths": lease.task.deaths,
            }
            for lease in table.leases
        ],
        "waiting": table.waiting,
        "suspects": table.suspects,
        "bytes_in_flight": table.bytes_in_flight,
        "budget": table.budget,
        "processes": processes(table, children, now),
        "guests": {name: round(table.silence(name, now), 3) for name in guests},
    }


def processes(table: LeaseTable, children: Iterable[Child], now: float) -> list[dict[str, Any]]:
    """The children's part of a snapshot."""
    return [
        {
            "process": child.name,
            "pid": child.pid,
            "ready": child.ready,
            "killed": child.killed or None,
            "silent": round(table.silence(child.name, now), 3),
            "age": round(now - child.started, 3),
            **process_status(child.pid),
        }
        for child in children
    ]


def dump(what: str, found: dict[str, Any], kind: str, process: str) -> None:
    """Log what has happened, to whom, and a snapshot."""
    spelt = "\n  ".join([f"{what}. The state of the run:", *lines(found)])
    log.warning("%s", spelt, extra=event(kind, process, **found))


def lines(found: dict[str, Any]) -> list[str]:
    """A snapshot in words."""
    out = [
        f"{len(found['leases'])} leases out, {found['waiting']} samples wait for one, "
        f"{found['suspects']} of them suspects; {found['bytes_in_flight'] / 1e6:.1f} MB in flight "
        f"of {found['budget'] / 1e6:.1f}"
    ]
    for lease in found["leases"]:
        out.append(
            f"  lease {lease['lease']} of sample {lease['sample']}: {lease['stage']} with "
            f"{lease['holder']}, {lease['age']:.1f} s old, {lease['deaths']} deaths"
        )
    for process in found["processes"]:
        ready = "ready" if process["ready"] else f"starting for {process['age']:.1f} s"
        state = f"killed: {process['killed']}" if process["killed"] else ready
        out.append(
            f"  {process['process']}: pid {process['pid']}, {state}, state {process['state']}, "
            f"{process['rss'] / 1e6:.0f} MB, nothing heard for {process['silent']:.1f} s"
        )
    for guest, silent in found["guests"].items():
        out.append(f"  {guest}: elsewhere, nothing heard of its work for {silent:.1f} s")
    return out
