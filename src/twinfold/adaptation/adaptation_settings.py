"""The numbers that decide what is said of agents and of their data, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PosteriorSettings:
    """Numbers that decide what the agents that the nets were trained on say of others.

    Attributes:
        limit_share: share of the transitions that may end at a hard limit.
        limit_quantile: share of the errors at hard limits that their size is taken from.
        borrowed: share of the prior variance, left open by the data of an agent, below which it is
            mostly known by its own data.
        rounds: of expectation maximisation.
        clean: standard deviations of the target that the noise of clean data stays below.
        reweighed: times that rows are weighed in clean data by what their agent's factors explain.
        least_noise: smallest noise, in standard deviations of the target.
        noise_sample: transitions, at the most, that the noise of the training data is taken from.
    """

    limit_share: float = 0.2
    limit_quantile: float = 0.99
    borrowed: float = 0.5
    rounds: int = 10
    clean: float = 0.05
    reweighed: int = 2
    least_noise: float = 1e-6
    noise_sample: int = 2**14


POSTERIOR = PosteriorSettings()
"""The settings of every fit."""


@dataclass(frozen=True)
class AdaptationSettings:
    """Numbers from which on something about the data of an adaptation is doubtful, and is said.

    Attributes:
        misfit: squared residuals over squared noise beyond which an agent does not fit, at the
            least.
        misfit_quantile: share of the trained agents whose figure the limit is taken from.
        misfit_times: times the figure of these that the limit is, if that is more.
        step: share of the model's time step by which that of other data may differ.
        usual_steps: share of the transitions that must be as long as a model's steps, which are all
            alike, for it to read data whose times are uneven.
        rounding: share of a value by which it may differ and still be the same.
        named: most lines on agents with values that cannot be computed with.
    """

    misfit: float = 25.0
    misfit_quantile: float = 0.99
    misfit_times: float = 4.0
    step: float = 0.05
    usual_steps: float = 0.5
    rounding: float = 1e-6
    named: int = 100


ADAPTATION = AdaptationSettings()
"""The settings of every adaptation."""
