"""Formats: the pose files of other programs, a reader each.

A reader is registered under the entry point group ``engine.formats``: a function that takes what is
at a path (`content.Content`) and returns its recordings (`recording.Recording`), or None where the
form is another one's. `registry` finds the reader of a path. From recordings are made samples of a
data set and messages of a source (`poses`).
"""
