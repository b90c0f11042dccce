"""Video to poses: pictures of a file or a camera, and the people that an estimator finds in them.

`engine.sources.video.source` runs `engine.sources.video.estimation` in a process of its own and
reads its pose frames. What it needs (PyAV, MediaPipe, rtmlib) is installed by the extra
``[video]``.
"""
