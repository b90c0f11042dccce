"""Processes: a supervisor, decode workers and executors, and what makes exactly one record a
sample of them.

Three ideas. Decisions are pure, with the clock as an argument: `scheduler` and `leases` (who has
which sample), `watchdog` (whether the run goes on). Peers do the work: the children of a `pool`
(`worker`, `executor`, started by `processes`) and `guests`. They talk over a channel, `transport`.
The loop that ties them is `supervisor`.

`setup` puts a run together; `execution` is a run as its user holds it; `cluster` runs engines on
other machines.
"""
