"""The scores of an annotation: python score_static.py net_shared_u480.onnx FILE.pkl [NUMBER]"""

import json, sys  # noqa: E401, I001
import numpy as np, onnxruntime as ort  # noqa: E401

C, T, S, SIGMA = 10, 48, 56, 0.6  # clips and their frames, pixels, those of a Gaussian
network = ort.InferenceSession(sys.argv[1], providers=ort.get_available_providers())
feed = {i.name: np.zeros(i.shape, "i4" if "int" in i.type else "f4") for i in network.get_inputs()}
about, found = network.get_modelmeta().custom_metadata_map, np.load(sys.argv[2], None, True)
one = (found if isinstance(found, list) else found["annotations"])[int((sys.argv[3:] or [0])[0])]
n, rng, steps = one["total_frames"], np.random.RandomState(255), np.arange(T + 1)
if n < T:  # the frames of each clip: the video over and over, or less a few, or one in every nth
    plan = (np.arange(C)[:, None] * max(n, C) // C + steps[:-1]) % n
elif n < 2 * T:
    skipped = [np.isin(steps, rng.choice(T + 1, n - T, replace=False)) for _ in range(C)]
    plan = steps[:-1] + np.cumsum(skipped, axis=1)[:, :-1]
else:
    plan = (steps * n // T)[:-1] + [rng.randint(np.diff(steps * n // T)) for _ in range(C)]
used, plan = np.unique(plan, return_inverse=True)
xy, tops = np.nan_to_num(one["keypoint"][:, used]).astype("f4"), one["keypoint_score"][:, used]
ends = np.array([[f(axis[axis != 0]) for axis in np.moveaxis(xy, -1, 0)] for f in (np.min, np.max)])
corners = (ends.mean(0) + np.outer([-0.625, 0.625], [np.ptp(ends, 0).max()] * 2)).astype(int)
sides = np.diff(corners, axis=0)  # of a square around all, which is scaled to the heatmaps
xy = np.where(xy, xy - corners[0], 0) * ((sides * S / sides.min() + 0.5).astype(int) / sides)
twins = [0, *(joint + 2 * (joint % 2) - 1 for joint in range(1, 17))]  # of the other side
xy = np.hstack([xy, np.where(xy, [S, 0] + xy * [-1, 1], 0)[:, :, twins]])[..., None]
near = (np.trunc(xy - 3 * SIGMA) <= np.arange(S)) & (np.arange(S) <= np.trunc(xy + 3 * SIGMA))
x, y = np.moveaxis(near * np.exp(-((np.arange(S) - xy) ** 2) / 2 / SIGMA**2), 3, 0).astype("f4")
tops = np.hstack([tops, tops[..., twins]])[..., None, None].astype("f4")
feed["frames"][: 2 * len(used)] = (y[..., None] * x[..., None, :] * tops).max(0)
ids, below = np.vstack([half + plan.reshape(C, T) for half in (0, len(used))]), len(feed["frames"])
for number, stride in enumerate(json.loads(about["strides"]), 1):
    table, padded = feed[f"level{number}"], np.pad(ids, ((0, 0), (1, 1)), constant_values=below)
    around = [padded[:, k : k + ids.shape[1] : stride].ravel() for k in range(3)]
    rows, ids = np.unique(around, axis=1, return_inverse=True)
    table[:, : rows.shape[1]], ids, below = rows, ids.reshape(2 * C, -1), table.shape[1]
np.add.at(feed["clips"], (np.arange(2 * C)[:, None], ids), 1 / ids.shape[1])
likely = np.exp(network.run(None, feed)[0].astype(float))
print(*(likely / likely.sum(1, keepdims=True)).mean(0), sep="\n")
