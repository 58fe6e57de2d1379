"""The numbers that decide how much a transition counts in a fit; every run records its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RegressionSettings:
    """Numbers that decide how training and the regressions after it treat large errors.

    Attributes:
        outlier: standard deviations of the target beyond which the loss of training grows linearly.
        unrolled_rate: peak of the learning rate of training on several steps, as a share of that of
            training on one.
        huber: robust scales beyond which a residual counts linearly in a regression.
        floor: smallest robust scale, in standard deviations of the target.
        scale_sample: transitions, at the most, that the scale of the residuals is taken from.
    """

    outlier: float = 1.0
    unrolled_rate: float = 0.2
    huber: float = 3.0
    floor: float = 1e-6
    scale_sample: int = 2**15


REGRESSION = RegressionSettings()
"""The settings of every fit."""
