"""The meter: streams that send far more frames than they say.

Comes in: whose each message is, and when it came. Goes out: whether there is time for it. Pure, and
the clock is an argument.
"""

from __future__ import annotations

from collections import OrderedDict

_TIMES = 4.0  # as many as it says
_MOST = 1000.0  # frames/s, whatever it says
_STREAMS = 1000  # that are remembered


class Meter:
    """`usual`: frames/s of a stream that does not say."""

    def __init__(self, usual: float) -> None:
        self._usual = usual
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # frames, and since when

    def admits(self, stream: str, rate: float | None, now: float) -> bool:
        """Whether one more frame of a stream is within four times its rate, over a second."""
        allowed = min(_MOST, _TIMES * (rate or self._usual))
        left, since = self._left.pop(stream, (allowed, now))
        left = min(allowed, left + allowed * (now - since))
        self._left[stream] = (left - 1 if left >= 1 else left), now
        if len(self._left) > _STREAMS:
            self._left.popitem(last=False)
        return left >= 1
