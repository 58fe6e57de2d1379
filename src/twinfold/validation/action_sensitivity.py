"""Reaction to actions, of the model and of the data: the ground that plans stand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from twinfold.uncertainty.holdout_evaluation import HoldoutResult, Redrawn
from twinfold.validation.baselines import better, compare, signed_rank
from twinfold.validation.check import Check, said
from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds


def reacts(found: HoldoutResult, rules: ValidationThresholds = THRESHOLDS) -> Check:
    """Check that the recorded actions predict clearly better than actions drawn at random."""
    name = "against other actions"
    if not found.steady.shape[1]:
        return said(name, "nobody", rules, {}, planning=True, needed="planning")
    same, steady = float(found.redrawn.same.mean()), float(found.steady.all(axis=1).mean())
    if same >= rules.same_action or steady > rules.steady_agents:
        outcome = "constant" if same >= rules.same_action else "steady"
        values = {"same": same, "steady": steady}
        return said(name, outcome, rules, values, planning=True, needed="planning")
    check = better(found, "other actions", planning=True, needed="planning", rules=rules)
    share = borne_out(found, found.redrawn, rules)
    values = {**check.values, "borne_out": share}
    if check.status != "pass" or share >= rules.borne_out:
        return replace(check, values=values)
    return said(
        name,
        "not borne out",
        rules,
        values,
        planning=True,
        needed="planning",
        comparison=compare(found, "other actions", rules),
        effect=max(share, 0),
    )


def borne_out(
    found: HoldoutResult, redrawn: Redrawn, rules: ValidationThresholds = THRESHOLDS
) -> float:
    """Return the share of the model's effect of actions that the data bears out.

        sum of (error under drawn actions)^2 - error^2, over the sum of (what predictions moved)^2

    the slope of what happened on what was predicted of it: 1 if the effect is as large as the model
    says, 0 if it is not there, half if it is half as large. Summed over the middle half of the
    agents, by how far their predictions moved, so that a few do not decide.
    """
    moved = np.square(redrawn.moved)
    gain = np.square(redrawn.rmse) - np.square(found.rmse)
    low, high = np.quantile(moved, [rules.tail_agents, 1 - rules.tail_agents])
    kept = (moved >= low) & (moved <= high)
    total = float(moved[kept].sum())
    return float(gain[kept].sum()) / total if total > 0 else 0.0


def reacts_by_column(
    found: HoldoutResult, columns: Sequence[str], rules: ValidationThresholds = THRESHOLDS
) -> Check | None:
    """Check that each action column does what the model says; None if there is a single one.

    One column at a time is drawn at random, among what goes with the others where there are levels.
    A column with which predictions hardly move does no harm to a plan; one with which they move has
    to predict better as it was recorded, and to be borne out by the data: where it is, and does not
    do so by more than chance, there are too few agents to tell. Of a column that hardly varies by
    itself the data cannot say what it does.
    """
    if not found.redrawn_columns:
        return None
    bad, unsure, silent, rows = [], [], [], {}
    steady = found.steady.mean(axis=0)
    for c, (name, redrawn) in enumerate(zip(columns, found.redrawn_columns, strict=True)):
        moved = float(np.median(redrawn.moved / found.rmse))
        share = borne_out(found, redrawn, rules)
        p = signed_rank(np.log(found.rmse / redrawn.rmse))
        harmless, held_up = moved < rules.moved, share >= rules.borne_out
        same = float(redrawn.same.mean())
        rows[name] = {"moved": moved, "borne_out": share, "p": p, "same": same, "steady": steady[c]}
        varies = same < rules.same_action and steady[c] <= rules.steady_agents
        if not harmless and not held_up:
            bad.append(name)
        elif not harmless and p >= rules.level:
            unsure.append(name)
        elif not varies:
            silent.append(name)
    n = len(found.rmse)
    outcomes = {"fail": bad, "unsure": unsure, "silent": silent}
    outcome = next((kind for kind, names in outcomes.items() if names), "pass")
    worst = min(rows, key=lambda name: (name not in bad, rows[name]["borne_out"]))
    return said(
        "reaction by action column",
        "few" if n < rules.fewest_agents else outcome,
        rules,
        {"columns": rows},
        planning=True,
        needed="planning",
        agents=n,
        bad=len(bad or unsure),
        all=len(rows),
        listed=", ".join(map(repr, bad)),
        unsure=", ".join(map(repr, unsure)),
        silent=", ".join(map(repr, silent)),
        effect=max(rows[worst]["borne_out"], 0),
    )
