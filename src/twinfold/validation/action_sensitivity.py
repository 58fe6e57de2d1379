"""Whether the model reacts to actions as the data does: the ground that plans stand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from twinfold.uncertainty.holdout_evaluation import Examined, Redrawn
from twinfold.validation.baselines import better, n_agents, signed_rank
from twinfold.validation.check import Check
from twinfold.validation.thresholds import CRITERIA, Criteria


def reacts(found: Examined, rules: Criteria = CRITERIA) -> Check:
    """Whether the recorded actions predict clearly better than actions drawn at random."""
    name = "against other actions"
    found_same, steady = float(found.redrawn.same.mean()), float(found.steady.mean())
    if found_same >= rules.same_action or steady > 0.5:
        constant = found_same >= rules.same_action
        return Check(
            name,
            "unknown",
            f"{100 * found_same:.0f} % of actions drawn at random are the recorded ones"
            if constant
            else f"{100 * steady:.0f} % of agents never change their action",
            f"less than {100 * rules.same_action:.0f} %, at most half of the agents",
            "The data cannot say what actions do: "
            + ("they hardly vary. " if constant else "they hardly vary within an agent. ")
            + "Predictions along such actions are unaffected; do not plan with other ones.",
            planning=True,
            needed="planning",
            values={"same": found_same, "steady": steady},
        )
    advice = (
        "The recorded actions predict no better than random ones: the model does not react to the "
        "action, actions do little here, or they are misaligned with states. Do not plan with it."
    )
    check = better(
        name, found, "other actions", advice=advice, planning=True, needed="planning", rules=rules
    )
    share = borne_out(found, found.redrawn)
    values = {**check.values, "borne_out": share}
    if check.status != "pass" or share >= rules.borne_out:
        return replace(check, values=values)
    return replace(
        check,
        status="warn",
        advice=f"The model reacts to actions, but {_bears_out(share)}. {_BEWARE}",
        values=values,
    )


_BEWARE = "Do not plan with it: an effect that is not there would be exploited."


def _bears_out(share: float) -> str:
    return f"the data bears out {100 * max(share, 0):.0f} % of the effect that it ascribes to them"


def borne_out(found: Examined, redrawn: Redrawn) -> float:
    """Share of the effect of actions, as the model has it, that the data bears out.

        sum of (error under drawn actions)^2 - error^2, over the sum of (what predictions moved)^2

    the slope of what happened on what was predicted of it: 1 if the effect is as large as the model
    says, 0 if it is not there, half if it is half as large. Summed over the middle half of the
    agents, by how far their predictions moved, so that a few do not decide.
    """
    moved = np.square(redrawn.moved)
    gain = np.square(redrawn.rmse) - np.square(found.rmse)
    low, high = np.quantile(moved, [0.25, 0.75])
    kept = (moved >= low) & (moved <= high)
    total = float(moved[kept].sum())
    return float(gain[kept].sum()) / total if total > 0 else 0.0


def reacts_by_column(
    found: Examined, columns: Sequence[str], rules: Criteria = CRITERIA
) -> Check | None:
    """Whether each action column does what the model says; None if there is a single one.

    One column at a time is drawn at random. A column with which predictions hardly move does no
    harm to a plan; one with which they move has to predict better as it was recorded, and to be
    borne out by the data.
    """
    if not found.redrawn_columns:
        return None
    bad, rows = [], {}
    enough = len(found.rmse) >= rules.fewest_agents
    for name, redrawn in zip(columns, found.redrawn_columns, strict=True):
        moved = float(np.median(redrawn.moved / found.rmse))
        share = borne_out(found, redrawn)
        p = signed_rank(np.log(found.rmse / redrawn.rmse))
        fine = moved < rules.moved or (share >= rules.borne_out and p < rules.level)
        rows[name] = {"moved": moved, "borne_out": share, "p": p}
        bad += [] if fine else [name]
    worst = min(rows, key=lambda name: (name not in bad, rows[name]["borne_out"]))
    listed = ", ".join(repr(name) for name in bad)
    return Check(
        "reaction by action column",
        "unknown" if not enough else "fail" if bad else "pass",
        f"{len(bad)} of {len(rows)} columns move predictions without predicting",
        "none",
        f"{n_agents(len(found.rmse))} are too few to tell columns of the actions apart."
        if not enough
        else "Each action that moves predictions predicts what happens."
        if not bad
        else f"Predictions move with {listed}, but {_bears_out(rows[worst]['borne_out'])}. "
        f"{_BEWARE}",
        planning=True,
        needed="planning",
        values={"columns": rows},
    )
