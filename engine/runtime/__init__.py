"""Processes: a supervisor, workers and executors, and what makes exactly one record a sample.

Three ideas. Decisions are pure, with the clock as an argument: `scheduler` takes samples in, checks
their poses and says what messages mean, `leases` decides who has which sample, `watchdog` whether
the run goes on. Peers do the work: the children of a `pool` (`worker` draws clips, `executor` runs
the network; `processes` starts them) and `guests`, workers of other machines. They talk over a
channel, `transport`. `supervisor` ties them, one step at a time; `loop` drives the steps.

`setup` puts a run together; `execution` is a run as its user holds it; `cluster` runs engines on
other machines, `in_process` none.
"""
