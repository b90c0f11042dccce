"""Poses to clips: the exact preprocessing of mmaction2, without files, processes or a network.

`poses` is a sequence of skeletons; `sampling` chooses its frames, `heatmaps` places and draws
joints, `sparse` keeps what was drawn, `clips` is the network's input; `joints` knows how others
number theirs.
"""
