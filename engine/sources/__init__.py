"""Where poses come from: data sets (`dataset`), and live sources (`source`).

A data set is a file or a folder of annotations, each a `Sample`; a live source sends pose frames as
they come. Either may be the demo's generated motion (`demo`); those of a video are found by a pose
estimator (`video`).
"""
