"""The numbers that decide when a fit chooses its model, in one place; every run records its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SelectionSettings:
    """Numbers that decide which models are tried on held-out data, and which one is chosen.

    Attributes:
        handful: transitions below which no nets are tried beside simple models, each by how much
            it counts; and where values are missing, no change is kept unless another simple model
            has less than ``far_less`` of its error.
        few: transitions up to which every agent is cut, at several places in time.
        many: transitions above which trials do without the posterior, and wide nets are worth their
            time.
        origins: shares of the data after which few data is cut; the first is that of more data.
        late: share of an agent's transitions that is held out at least where agents are cut in
            turn.
        left_out_groups: groups of agents that linear models are fitted again without, in turn, to
            calibrate the band on agents that were not seen.
        turns: parts of the agents that are held out as a whole, in turn, where most have too few
            transitions to be cut at ``origins``.
        worst: held-out error, in standard deviations, beyond which worse is not worse.
        best: held-out error, likewise, below which better is not better.
        fewest_agents: agents below which windows are compared, not the agents' means.
        known_starts: windows of a fold that begin where the whole state was observed, from which on
            these alone are compared.
        caution: standard errors that a richer simple model, or nets, must be better by.
        sharpness: power of the error that weights in an average of simple models fall with.
        hedge: times the best simple model's error that their average may have.
        far_less: share of the held-out error below which agents are believed to differ by far more
            than the noise.
        less: the same where one model for all agents explains nothing, and own ones do, or where
            of little data next to no noise is left; and of reading static columns.
        shared_nothing: share of the error of predicting no change that one model for all agents
            leaves, above which it explains nothing.
        own_explain: the same of own models, below which they explain something.
        least_part: share of such an average below which a model is left out.
        alone: times the error of nets beside a linear model, that nets alone may have, where times
            are uneven.
        deciding: nets together that decide whether nets are used, where times are uneven and data
            is little.
        kept: strengths of shrinkage that are kept for longer training.
        room: share of the error of predicting no change above which there is much to be learned.
        low_noise: share of it below which there is next to no noise.
        pays: share of the error that longer training must get below to be worth going on.
        hopeless: times a simple model's error beyond which nets are not trained any longer.
        often: times that nets have seen the data, from which on being worse at all is hopeless.
        falls: power of the length of training that nets' errors may at best fall with where there
            is next to no noise, however often they have seen the data.
        noise_sample: held-out transitions, at the most, that the noise is taken from.
        histories: rows that a model with memory may read.
        needed: share of the best error without a memory that simple models with one must get below
            for nets to be tried with it too.
        kept_states: states of the data that the run keeps, at the most.
    """

    handful: int = 20
    few: int = 10_000
    many: int = 50_000
    origins: tuple[float, ...] = (1.0, 0.85, 0.7)
    late: float = 0.7
    turns: int = 5
    left_out_groups: int = 5
    worst: float = 10.0
    best: float = 1e-6
    fewest_agents: int = 5
    known_starts: int = 30
    caution: float = 0.5
    sharpness: int = 6
    hedge: float = 1.1
    far_less: float = 0.5
    less: float = 0.95
    shared_nothing: float = 0.95
    own_explain: float = 0.9
    least_part: float = 0.01
    alone: float = 1.1
    deciding: int = 3
    kept: int = 2
    room: float = 0.3
    low_noise: float = 0.2
    pays: float = 0.99
    hopeless: float = 1.3
    often: int = 100
    falls: float = 0.5
    noise_sample: int = 2**14
    histories: tuple[int, ...] = (2, 4, 8)
    needed: float = 0.7
    kept_states: int = 2048


SELECTION = SelectionSettings()
"""The settings of every fit."""
