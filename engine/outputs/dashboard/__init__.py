"""The dashboard: a run as a page that moves, on ``--dashboard [HOST:PORT]``.

`output` ties a run to it: `telemetry` and `scene` (live) or `gallery` (data set) keep what is
shown, `server` serves it, ``static`` draws it.
"""
