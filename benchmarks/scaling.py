"""The capacity model: what many nodes can do, from what one sample costs.

Plain formulas, of means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GIGABIT = 1e9 / 8  # bytes
REPORT_EVERY_S = 0.25  # of engines


@dataclass(frozen=True)
class Sample:
    """What a sample costs: seconds of a core of the driver and of a worker, bytes into the node
    that has the device and bytes out of the driver's."""

    driver_s: float
    worker_s: float
    clips_bytes: float
    lease_bytes: float


def bounds(
    sample: Sample,
    *,
    devices: int,
    device_rate: float,
    cores: float = math.inf,
    gigabits: float = math.inf,
) -> dict[str, float]:
    """Samples/s that each part would reach if the others took no time. All of them overlap, so
    that the least is the rate. `cores` decode; every device has a link of so many `gigabits`."""
    into = GIGABIT * gigabits / sample.clips_bytes
    out = GIGABIT * gigabits / sample.lease_bytes
    return {
        "device": devices * device_rate,
        "decode cores": cores / sample.worker_s,
        "network": min(devices * into, out),
        "driver": 1 / sample.driver_s,
    }


def cores_for(rate: float, sample: Sample) -> float:
    """Cores that decode so many samples/s."""
    return rate * sample.worker_s


def gigabits_for(rate: float, sample: Sample) -> float:
    """Gbit/s of clips into the node of a device that scores so many samples/s."""
    return rate * sample.clips_bytes / GIGABIT


@dataclass(frozen=True)
class Job:
    """What so many videos cost at a rate."""

    hours: float
    device_hours: float
    core_hours: float  # of workers
    gigabytes: float  # of clips


def job(videos: int, sample: Sample, *, devices: int, rate: float) -> Job:
    """`rate` in samples/s, of all devices together."""
    seconds = videos / rate
    return Job(
        seconds / 3600,
        devices * seconds / 3600,
        videos * sample.worker_s / 3600,
        videos * sample.clips_bytes / 1e9,
    )


@dataclass(frozen=True)
class Failures:
    """How nodes fail, and what the rule for suspects makes of it. Nodes have a device each."""

    nodes: int
    mtbf_s: float  # of one node
    restart_s: float
    driver_s: float  # a sample
    sample_s: float  # of the device
    spread: float  # standard deviation of that, over its mean
    max_batch: int

    @property
    def up(self) -> float:
        """The share of nodes that work."""
        return 1 / (1 + self.restart_s / self.mtbf_s)

    @property
    def deaths(self) -> float:
        """A second."""
        return self.nodes / self.mtbf_s

    @property
    def singly_s(self) -> float:
        """Seconds in which the suspects of one death are run, one after the other, and nothing
        else: half a batch and half a sample are not done when a device dies."""
        return (self.max_batch + 1) / 2 * self.sample_s

    @property
    def draining_s(self) -> float:
        """Seconds that the mean device is idle around suspects: while the last one finishes what
        it has (the largest of so many sums of so many normal numbers, less their mean), and until
        the driver has seen to each of them again."""
        ahead = 2 * self.max_batch + 1
        last = self.spread * math.sqrt(2 * ahead * math.log(max(2, self.nodes)))
        return self.sample_s * last + self.nodes * self.driver_s

    def efficiency(self, *, drains: bool) -> float:
        """The share of the rate without failures that is left. With `drains` every death makes
        its suspects wait until they are impatient, and all devices drain for them: that is the
        least. Without, suspects are run at the end: the most."""
        lost = self.singly_s + (self.draining_s if drains else 0.0)
        return self.up / (1 + self.deaths * lost)


@dataclass(frozen=True)
class Driver:
    """What the driver of a cluster of engines costs, in CPU seconds."""

    turn_s: float  # of a turn
    look_s: float  # of each engine in it
    report_s: float
    record_s: float

    def bound(self, ahead: int) -> float:
        """Samples/s at most, of engines that have so many samples ahead. When the driver is late,
        reports are in turn of all that an engine had, and of the first of what it got then. Turns
        do not count: the later the driver is, the more reports it finds in one."""
        return 1 / (self.record_s + self.report_s * 2 / (ahead + 1))


def left_of_engines(mtbf_s: float, away_s: float, sample_s: float) -> float:
    """The share of the rate that engines have left which fail so often and are away for so long:
    nobody waits for the dead, so they cost their absence, and what had not been reported."""
    return 1 / (1 + (away_s + max(REPORT_EVERY_S, sample_s) / 2) / mtbf_s)
