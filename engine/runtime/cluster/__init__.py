"""Clusters: the engine on the nodes of a Ray cluster (``--cluster``).

`nodes` connects to one; `actor` is an engine on a node; `payloads` are what it is sent; `shards`
decides which engine has which samples; `driver` is the run that drives them, with the records and
the files. Ray places, restarts and reports; exactly one record a sample is ours. Nothing here is
imported without ``--cluster``.
"""
