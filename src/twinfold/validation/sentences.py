"""Words that users read of each check: its figure, what that is compared with, and a sentence.

Templates are those of ``str.format``, with three formats more: ``pct`` for a share in per cent,
``agents`` for a number of agents, ``capital`` for the beginning of a sentence. They name the values
of a check, further words that it gives, and ``rules``, the thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Said(NamedTuple):
    """Templates of one outcome of a check."""

    figure: str
    expected: str
    advice: str


def _rows(figure: str, expected: str, sentences: Mapping[str, str]) -> dict[str, Said]:
    return {outcome: Said(figure, expected, advice) for outcome, advice in sentences.items()}


CONTROL_NAMES = {
    "persistence": "predicting no change",
    "own mean": "predicting each agent's mean so far",
    "mean of all": "predicting the mean of all agents",
    "drift": "going on as before on average",
    "pooled linear model": "a linear model of all agents together",
    "own linear model": "a linear model with deviations of each agent",
    "average agent": "predictions for the average agent",
    "another agent": "predictions by another agent's simulator",
    "other actions": "predictions under actions drawn at random",
}
"""Controls, in words."""

_NOTHING_TO_FOLLOW = (
    "predicts as well: there is nothing here that the run could follow, as in noise, or it does "
    "not."
)
NO_BETTER = {
    "persistence": "Predictions are no better than no change; do not use them.",
    "own mean": f"Each agent's mean so far {_NOTHING_TO_FOLLOW}",
    "mean of all": f"The mean of all agents {_NOTHING_TO_FOLLOW}",
    "average agent": "An agent's own simulator is hardly better than the average one: agents are "
    "alike, ids are mixed up, or there is too little data per agent. One model for all would do.",
    "another agent": "Another agent's simulator does as well: either agents are alike, or ids are "
    "mixed up. Do not read anything into differences between agents.",
    "other actions": "The recorded actions predict no better than random ones: the model does not "
    "react to the action, actions do little here, or they are misaligned with states. Do not plan "
    "with it.",
}
"""What it means that predictions are no better than a control."""

STATISTIC_NAMES = {
    "level": "one-step errors are larger than usual: more noise, another regime or wrong ids",
    "course": "predictions leave the band further than usual",
    "memory": "one-step errors follow each other in time: a cause that the state does not hold",
    "drift": "one-step errors change with time: a drifting sensor, or wear",
    "change": "errors grow within the trajectory: a switch to another regime",
    "reaction": "recorded actions predict hardly better than random ones: misaligned actions",
    "identity": "an agent's own simulator is hardly better than the average one: mixed-up ids",
}
"""What it means that a statistic is larger than on the reserved agents."""

_BORNE_OUT = "the data bears out {effect:pct} of the effect that it ascribes to them"
_BEWARE = "Do not plan with it: an effect that is not there would be exploited."
_NO_VARIATION = (
    "The data cannot say what actions do: they hardly vary{within}. Predictions along such actions "
    "are unaffected; do not plan with other ones."
)
_VARIATION = "less than {rules.same_action:pct}, at most half of the agents"
_ANOTHER_KIND = (
    "Errors are {times:.3g} times as large as on what the fit held out: this data is not of the "
    "kind that the run was made for, or what was held out was too much like the rest."
)
_NOTHING_TO_COMPARE = "Nothing to compare with."
_TOO_NARROW = (
    "The band is too narrow for these agents: they, or their policy, differ from those that it was "
    "calibrated on. Do not rely on it here; recalibrate on agents like these."
)
_UNLIKE = "Errors in units of the band are distributed unlike those of the calibration agents: "

SENTENCES: dict[str, dict[str, Said]] = {
    "against a control": _rows(
        "{comparison}",
        "below {rules.clearly:g}, better for most",
        {
            "few": "{agents:agents} are too few to tell whether they are predicted better than by "
            "{theirs}.",
            "far worse": "Every agent is predicted more than {rules.grossly:g} times worse. "
            "{no_better}",
            "pass": "Predictions are clearly better than {theirs}.",
            "worse": "{no_better}",
            "hardly": "Predictions are better than {theirs}, but by less than a tenth in the "
            "median.",
            "some badly": "Most agents are predicted better than by {theirs}, but some so badly "
            "that the error over all is no smaller. Look at these agents first.",
            "open": "{agents:agents} do not show whether they are predicted better than by "
            "{theirs}.",
        },
    ),
    "against the best simple control": _rows(
        "{control}: {comparison}",
        "at most {limit:g}",
        {
            "few": "{agents:agents} are too few to tell whether {theirs} does better.",
            "negligible": "{theirs:capital} predicts still better, by less than "
            "{rules.negligible_loss:pct} of the error of no change.",
            "worse": "{theirs:capital} predicts better: it is the fit that falls short here, not "
            "the data. For predictions prefer the simpler model.",
            "pass": "Nothing simpler predicts better; the best was {theirs}.",
            "open": "{theirs:capital} seems to predict better; there are too few agents to tell.",
            "some badly": "For most agents nothing simpler predicts better, but over all {theirs} "
            "has the smaller error: some agents are predicted badly. Look at these first.",
        },
    ),
    "against the run's own error": _rows(
        "{share:.2g} of the error of no change",
        "{own_share:.2g} on what the fit held out",
        {
            "pass": "Errors are of the size that the fit saw.",
            "warn": _ANOTHER_KIND,
            "fail": _ANOTHER_KIND,
        },
    )
    | {
        outcome: Said(
            figure, "{rules.promised_agents} agents, and a held-out error", _NOTHING_TO_COMPARE
        )
        for outcome, figure in (
            ("few", "{agents:agents}"),
            ("nothing", "nothing was held out in the fit"),
        )
    },
    "data of the fit": _rows(
        "{transitions} transitions of {agents:agents}",
        "at least {rules.least_transitions} transitions",
        {
            "pass": "There was something to learn from.",
            "unknown": "So few rows determine nothing: whatever the run predicts is a guess. Fit "
            "again with more rows of each agent, or with more agents.",
        },
    ),
    "break-even horizon": {
        "pass": Said(
            "none within {reach} steps",
            "none within {reach} steps",
            "Predictions beat the best simple control ({control}) as far as the data reaches.",
        )
    }
    | _rows(
        "step {step} of {reach}",
        "none within {reach} steps",
        {
            "warn": "From step {step} on {theirs} does as well: do not ask for more than {before} "
            "steps at a time.",
            "never": "From step {step} on {theirs} does as well: no horizon favours the run.",
        },
    ),
    "against other actions": {
        "constant": Said(
            "{same:pct} of actions drawn at random are the recorded ones",
            _VARIATION,
            _NO_VARIATION.replace("{within}", ""),
        ),
        "steady": Said(
            "{steady:pct} of agents never change their action",
            _VARIATION,
            _NO_VARIATION.replace("{within}", " within an agent"),
        ),
        "not borne out": Said(
            "{comparison}",
            "below {rules.clearly:g}, better for most",
            f"The model reacts to actions, but {_BORNE_OUT}. {_BEWARE}",
        ),
    },
    "reaction by action column": _rows(
        "{bad} of {all} columns move predictions without predicting",
        "none",
        {
            "few": "{agents:agents} are too few to tell columns of the actions apart.",
            "pass": "Each action that moves predictions predicts what happens.",
            "fail": f"Predictions move with {{listed}}, but {_BORNE_OUT}. {_BEWARE}",
        },
    ),
    "unreserved": _rows(
        "nothing to compare with",
        "reserved agents",
        {
            "nothing": "No agents were reserved when the model was fitted: nothing says what is "
            "usual, and the band is not promised. Fit with --reserve."
        },
    ),
    "band": _rows(
        "{coverage:pct} of {agents} whole courses of {horizon} steps",
        "{nominal:pct}, at least {least} of {agents}",
        {
            "few": "Too few agents to tell whether the band holds.",
            "pass": "The band holds as many whole courses as it says.",
            "warn": _TOO_NARROW,
            "fail": _TOO_NARROW,
        },
    )
    | {
        "nothing": Said(
            "no agent",
            "{nominal:pct}, at least {least} of {agents}",
            "Too few agents to tell whether the band holds.",
        ),
        "short": Said(
            "{agents} agents to calibrate {horizon} steps",
            "at least {least}",
            "Too few agents were reserved to promise a band this far; reserve more. A shorter one "
            "stands in for it, without a promise.",
        ),
        "calibrated": Said(
            "{factor:.2g} times as wide, by {agents} whole courses of {horizon} steps",
            "meant to hold {nominal:pct}",
            "The band is calibrated on these agents; only data that the run has not had tests it.",
        ),
    },
    "probability integral transform": {
        "few": Said(
            "{agents} agents, {reserved} reserved ones",
            "at least {rules.fewest} of each",
            "Too few agents to compare distributions.",
        )
    }
    | _rows(
        "largest deviation from uniform {statistic:.2f}",
        "p at least {rules.level:g} (here {p:.2g})",
        {
            "pass": "Errors are as large, in units of the band, as they were on the calibration "
            "agents.",
            "wide": f"{_UNLIKE}the band is too wide here, but safe.",
            "narrow": f"{_UNLIKE}the band is too narrow.",
        },
    ),
    "band by group": _rows(
        "{groups_shown}",
        "misses spread evenly over groups",
        {
            "pass": "The courses that the band does not hold are spread evenly over the groups.",
            "warn": "The band holds {worst[coverage]:pct} of group {worst[group]!r}: its promise "
            "is for all agents together. Calibrate on this group by itself.",
        },
    ),
    "as usual": {
        "few": Said(
            "{agents} agents, {reserved} reserved ones",
            "at least {rules.fewest} of each",
            "Too few agents whose last trajectory is long enough to compare.",
        )
    }
    | _rows(
        "median {median:.2f}",
        "{usual:.2f} on the reserved agents (p {p:.2g})",
        {
            "pass": "As on the reserved agents.",
            "warn": "{meaning:capital}.",
            "fail": "{meaning:capital}.",
        },
    ),
    "agents that fit badly": _rows(
        "{bad} of {all} agents",
        "none",
        dict.fromkeys(
            ("warn", "fail"),
            "{agent!r}: {meaning}. Look at these agents' data before using their simulators.",
        )
        | {"pass": "No agent stands out."},
    ),
    "mistaken identity": _rows(
        "{bad} of {all} agents",
        "none",
        {
            "pass": "No agent's data is explained by another's simulator beyond chance.",
            "warn": "The data of {agent!r} fits the simulator of {like!r} {times:.3g} times better "
            "than its own: it has changed, or its id is another's.",
            "fail": "The data of {agent!r} fits the simulator of {like!r} {times:.3g} times better "
            "than its own, and the other way round: ids may be swapped.",
        },
    ),
    "agents whose own data does not fit": _rows(
        "{bad} of {all} agents",
        "squared residuals up to {limit:.3g} times the noise",
        {
            "pass": "Every agent's data is explained by factors of its own.",
            "warn": "{agent!r} fits {worst:.3g} times worse than the noise allows: contradictory "
            "rows, another regime, or an agent unlike all others. Its band is wide.",
        },
    ),
    "residuals against state and action": {
        "few": Said(
            "{transitions} transitions",
            "more than {needed_rows}",
            "Too few transitions to tell whether errors depend on state or action.",
        )
    }
    | _rows(
        "{share:pct} of their variance in {column!r}",
        "below {rules.structured:pct}",
        {
            "pass": "One-step errors hardly depend on state and action.",
            "warn": "One-step errors of {column!r} depend on state or action: the model misses "
            "something systematic there that the columns show: a derived column such as a product "
            "or a limit, or joint features (--features joint) if actions do different things in "
            "different states.",
        },
    ),
    "stability across seeds": {
        "few": Said(
            "{members} members, {agents} agents", "2 members and 3 agents", "Nothing to compare."
        )
    }
    | _rows(
        "members differ by {times:.2g} times the error; correlation {correlation:.2f} between them",
        "at most 1, or {rules.agreeing:g}",
        {
            "pass": "Another seed would change predictions by less than their error.",
            "alike": "Members tell agents apart alike.",
        }
        | dict.fromkeys(
            ("warn", "fail"),
            "Another seed would change predictions by more than their error here: use the mean of "
            "the members, and ask for the support of a prediction. More rows of each agent would "
            "help.",
        ),
    ),
    "numerical rank": _rows(
        "{rank} of {of} terms hold {energy:.1f} % of the predictions",
        "fewer than {of}",
        {
            "pass": "The rank is more than what the agents need.",
            "warn": "Predictions use all the latent terms there are. That is no fault by itself; "
            "where errors are larger than the noise, agents may differ in more ways than the rank "
            "allows.",
        },
    ),
    "coverage by own data": {
        "nothing": Said("no sample", "", "The run keeps no sample to look at.")
    }
    | _rows(
        "{median:pct} own data in the median; mostly borrowed for {poor:pct} of agents",
        "at most {rules.poor_agents:pct} of agents mostly borrowed",
        {
            "pass": "Most agents' predictions rest on their own data.",
            "warn": "Many agents' predictions are borrowed from the population where the data "
            "lies: they have too few rows, or rows that are too much alike.",
        },
    ),
    "static columns": _rows(
        "{bad} of {all} new agents lack some",
        "none",
        {
            "pass": "New agents are known by their static columns, as the reserved agents are.",
            "warn": "Give {columns} of these agents: without them they begin as average ones, are "
            "predicted worse, and are no match for the reserved agents.",
        },
    ),
    "fresh data": _rows(
        "{share:pct} of the training states that the run keeps of these agents",
        "at most {rules.seen:pct}",
        {
            "pass": "The nets have not seen this data.",
            "warn": "The nets were trained on much of this data: errors look smaller than they "
            "are. Give data that the run has not had.",
        },
    ),
}
"""Templates by check and outcome."""

WOULD_DO = {
    "more rows": "Fit on {rules.least_transitions} transitions at the least.",
    "more rows and agents": "Fit on {rules.least_transitions} transitions at the least. Then try "
    "it on {enough} agents.",
    "more agents": "If agents were predicted better as often as here, about {enough} of them would "
    "show it; fewer than {rules.fewest_agents} never do.",
    "some agents": "At least {rules.fewest_agents} agents are needed. Of those there are, too few "
    "are predicted better for a number to be named.",
    "nothing": "More agents alone would hardly change it: what is gained is too little.",
}
"""What would settle what cannot be told."""

REMEDIES = {
    "earlier values": "One-step errors follow each other: give earlier values (lags) as state "
    "columns, or the input whose effect lasts.",
    "more rows": "Agents have {rows} transitions in the median, hardly more than a linear model of "
    "theirs has weights ({weights} per column): more rows of each are the likely remedy.",
    "more agents": "The run knows {agents} agents: more agents are the likely remedy, since what "
    "they have in common is learned from all.",
    "another input": "There are rows and agents enough: an input that is missing is the likely "
    "cause, or a time step within which little changes.",
}
"""What is most likely to help where a run predicts no better than a control."""
