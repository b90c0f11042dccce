"""Clusters: the engine on the nodes of a Ray cluster (``--cluster``).

`shards` decides which node has which samples; `actor` is an engine on a node; `runner` is the run
that drives them, with the ledger and the files. Ray places, restarts and reports; exactly one
record a sample is ours. Nothing here is imported without ``--cluster``.
"""
