"""A camera and a pose estimator: points in metres become key points in pixels with scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.sources.demo.body import F64

Rng = np.random.RandomState

_FACE = slice(1, 5)  # eyes and ears


@dataclass(frozen=True)
class Camera:
    """Where it stands and how it looks; degrees, metres, pixels.

    `azimuth` is where it stands around the person: 0 behind, 180 in front. `filled` is the
    share of the picture's height that the person takes, more than 1 cuts the legs off;
    `follows` how far (0 to 1) it moves along.
    """

    azimuth: float
    elevation: float
    roll: float
    distance: float
    height: int
    width: int
    filled: float
    follows: float
    centre: tuple[float, float]  # of the person in the picture, 0 to 1
    shake: float  # of the hand that holds it, share of the person's height

    def project(self, points: F64, rng: Rng) -> F64:
        """Points [T, 17, 3] metres to pixels [T, 17, 2], y downward.

        The scale is chosen by the first 17 points, so that other persons share it.
        """
        track = points[:, :17].mean(axis=1)
        target = track.mean(axis=0) + self.follows * (smooth(track, 9) - track.mean(axis=0))
        azimuth, elevation, roll = np.radians([self.azimuth, self.elevation, self.roll])
        forward = np.array(
            [
                -np.sin(azimuth) * np.cos(elevation),
                np.cos(azimuth) * np.cos(elevation),
                -np.sin(elevation),
            ]
        )
        right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        down = np.cross(forward, right)
        offset = points - target[:, None]
        depth = np.maximum(self.distance + offset @ forward, 0.3)
        flat = np.stack([offset @ right, offset @ down], axis=-1) / depth[..., None]
        turned = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        flat = flat @ turned.T
        own = flat[:, :17]
        low, high = own.min(axis=(0, 1)), own.max(axis=(0, 1))
        # As tall as wanted, but never wider than the picture.
        scale = min(
            self.filled * self.height / (high[1] - low[1]),
            max(self.filled, 0.95) * self.width / (high[0] - low[0]),
        )
        place = np.array([self.centre[0] * self.width, self.centre[1] * self.height])
        shaken = smooth(rng.standard_normal((len(points), 2)), 7) * self.shake * self.height
        middle = (low + high) / 2
        if self.filled > 1:  # the head stays in the picture
            middle[1] = low[1] + 0.42 * self.height / scale
        return np.asarray((flat - middle) * scale + place + shaken[:, None])


@dataclass(frozen=True)
class Detector:
    """How well key points are found. `jitter` and `drift` (which is slow) are shares of the
    person's size; `lost` is the share of joints that go missing for a while."""

    jitter: float
    drift: float
    lost: float
    confidence: float
    face: bool  # whether eyes and ears are found at all

    def observe(self, pixels: F64, shape: tuple[int, int], rng: Rng) -> tuple[F64, F64]:
        """Key points as found, [T, 17, 2], and scores, [T, 17]. `shape`: (height, width)."""
        frames = len(pixels)
        size = float(np.ptp(pixels[..., 1], axis=1).mean())
        noise = self.jitter * rng.standard_normal(pixels.shape)
        noise += self.drift * smooth(rng.standard_normal(pixels.shape), 11)
        score = self.confidence + 0.08 * rng.standard_normal((frames, 17))
        gone = smooth(rng.standard_normal((frames, 17)), 5)
        missing = gone > np.quantile(gone, 1 - self.lost) if self.lost else np.zeros_like(gone) > 0
        noise[missing] *= 5
        score[missing] *= rng.uniform(0.05, 0.5)
        height, width = shape
        outside = ((pixels < 0) | (pixels > (width, height))).any(axis=-1)
        score[outside] *= 0.15
        found = np.clip(pixels + size * noise, 0, (width - 1, height - 1))
        if not self.face:
            score[:, _FACE] = 0
            found[:, _FACE] = found[:, :1]
        if rng.rand() < 0.3:  # some estimators leave out what they are not sure of
            unsure = score < 0.2
            found[unsure] = 0
            score[unsure] = 0
        return found, np.clip(score, 0, 1)


def smooth(values: F64, width: int) -> F64:
    """Moving mean of `width` (odd) along the first axis; ends are continued."""
    half = width // 2
    padded = np.concatenate(
        [np.repeat(values[:1], half, 0), values, np.repeat(values[-1:], half, 0)]
    )
    total = np.cumsum(np.concatenate([np.zeros_like(padded[:1]), padded]), axis=0)
    return np.asarray((total[width:] - total[:-width]) / width)
