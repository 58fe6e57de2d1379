"""The numbers that decide in a validation, in one place; every record holds its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from twinfold.adaptation.adaptation_settings import ADAPTATION


@dataclass(frozen=True)
class ValidationThresholds:
    """Numbers from which on something is evidence, for or against.

    Attributes:
        level: of each family of tests, after correction for their number.
        fewest: agents below which distributions are not compared.
        clearly: share of a control's error that the median agent must stay below to be clearly
            better.
        worthwhile: the same where it is about predictions: a gain by a twentieth that is sure.
        margin: share by which the error may exceed that of the best simple control.
        grossly: times the error of a control beyond which each of too few agents is evidence
            against the run; fewer times may be chance.
        bootstrap_draws: samples of agents by which the error over all agents may vary.
        bootstrap_low: share of these samples that lies below what the error is taken to be at the
            least.
        most_agents: agents up to which it is said how many would settle a comparison.
        promised_times: times the run's own held-out error, both relative to no change, beyond which
            the data is not what the run was made for; a third of it warns.
        promised_share: share of the error of predicting no change below which that is no matter.
        promised_agents: agents that this takes.
        least_transitions: transitions that a run must have been fitted on to be more than a guess.
        same_action: share of the steps at which an action drawn at random is the recorded one, from
            which on the data cannot say what actions do.
        steady_agents: share of the agents that never change their action beyond which likewise.
        moved: share of the error by which predictions must move with a column of the actions for
            that column to matter.
        borne_out: share of the effect that the model ascribes to actions which the data must bear
            out.
        tail_agents: share of the agents, at either end of how far predictions moved, by whom the
            effect of actions is not measured.
        season: fewest steps over which errors are averaged before horizons are
            compared: a week of days.
        unstable: times the held-out error by which the members of the ensemble may differ from each
            other before plans must not rest on one of them.
        agreeing: correlation of members, over what tells agents apart, that counts as agreement.
        chance_pairs: pairs of agents that explain each other's data as well as the best pair does,
            expected by chance, beyond which nobody is accused.
        mistaken: times the squared error, and the noise, from which on an agent looks like another.
        swapped: the same for two agents either way.
        misfit: squared residuals over squared noise beyond which an agent's own data does not fit,
            at the least.
        misfit_spread: robust standard deviation of their logarithms over the agents, at the least.
        structured: share of the variance of residuals explained by state and action that warns.
        gross_residuals: share of the residuals that are cut off before they are explained.
        rows_per_weight: transitions, and agents, per weight of a linear model, from which on more
            of them are not what is lacking.
        remembered: correlation of one-step errors with the next ones from which on earlier values
            are the likely remedy.
        large: share of the reserved agents that the median of others must be beyond to fail.
        large_size: the same of the size of errors.
        outlying_times: times as far from the median as the worst of the reserved agents, from which
            on an agent fits badly.
        outlying_share: share of the agents that must fit badly for the run to fail by them.
        outlying: or how far beyond the limit the worst must be, in standard deviations of the
            reserved agents.
        negligible: share of the error of predicting no change below which an outlier is no matter.
        negligible_loss: the same of what a simple control does better.
        poor: share of own data below which an agent's predictions are mostly borrowed.
        poor_agents: share of such agents that warns.
        energy: share of the prediction tensor that its numerical rank holds.
        response_agents: agents whose responses are compared, at the most.
        response_probes: states of the training data that they respond at.
        seen: share of the training states among fresh data, beyond those that come back by chance,
            from which on it is not fresh.
    """

    level: float = 0.01
    fewest: int = 5
    clearly: float = 0.9
    worthwhile: float = 0.95
    margin: float = 0.05
    grossly: float = 10.0
    bootstrap_draws: int = 1000
    bootstrap_low: float = 0.05
    most_agents: int = 5000
    promised_times: float = 10.0
    promised_share: float = 0.3
    promised_agents: int = 3
    least_transitions: int = 20
    same_action: float = 0.95
    steady_agents: float = 0.5
    moved: float = 1.0
    borne_out: float = 0.5
    tail_agents: float = 0.25
    season: int = 7
    unstable: float = 3.0
    agreeing: float = 0.9
    chance_pairs: float = 0.02
    mistaken: float = 10.0
    swapped: float = 1.5
    misfit: float = ADAPTATION.misfit
    misfit_spread: float = 0.1
    structured: float = 0.3
    gross_residuals: float = 0.01
    rows_per_weight: int = 3
    remembered: float = 0.3
    large: float = 0.9
    large_size: float = 0.75
    outlying_times: float = 2.0
    outlying_share: float = 0.1
    outlying: float = 3.0
    negligible: float = 0.05
    negligible_loss: float = 0.03
    poor: float = 0.5
    poor_agents: float = 0.2
    energy: float = 0.999
    response_agents: int = 200
    response_probes: int = 64
    seen: float = 0.5

    @property
    def fewest_agents(self) -> int:
        """Agents that are significant in a one-sided sign test if all are better: 7 at .01."""
        return math.floor(-math.log2(self.level)) + 1


THRESHOLDS = ValidationThresholds()
"""Those of every validation that is not given others."""
