"""Streams to windows to labels: what makes samples of poses that are still arriving.

`supply` reads sources (`inbox` keeps what they send), `tracking` tells who is who, `windows` cuts
what `streams` keep into samples, in `crops` that stay, and `labels` turns their scores into labels.
Inboxes and streams are each a `fair_queue`.
"""
