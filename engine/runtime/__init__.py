"""Processes: a supervisor, decode workers and executors, and what makes exactly one record a
sample of them. `setup` puts a run together; `transport` carries messages, `cluster` runs engines
on other machines.
"""
