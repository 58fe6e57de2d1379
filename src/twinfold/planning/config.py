"""Settings of planning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    pass

CONTINUOUS = ("icem", "mppi", "cem")


class PlanConfig(BaseModel):
    """How to plan. Every setting is a plain value: a flag, a line of TOML, a field of a record.

    Attributes:
        planner: ``"sticky"`` or ``"shooting"`` for discrete actions; ``"icem"``, ``"mppi"`` or
            ``"cem"`` for continuous ones.
        candidates: action sequences per control step (continuous: in the first round).
        horizon: their length in steps.
        rounds: rounds per control step; the planners for discrete actions have one.
        terminal_value: what the end of a plan is worth: ``"none"``, or ``"grid"`` for a value
            learned from the model by value iteration (states of up to 3 coordinates), or
            ``"plans"`` for one learned by planning from many states (continuous actions; takes
            about half a minute per agent).
        discount: per step.
        progress: worth of the most progress that a plan makes, by the task's measure of it (the
            position in MountainCar; others have none).
        risk: standard deviations over the members that are taken off the return.
        cvar: share of the members, the worst ones, over which the return is averaged.
        disagreement: price of a step on which the members' predictions of the next state differ by
            one standard deviation of the training data, averaged over coordinates.
        out_of_range: what becomes of predictions beyond the training data: ``"ignore"``,
            ``"truncate"`` (nothing is earned from there on) or ``"penalise"``.
        range_margin: how much wider than the training data the range is, on either side, as a
            share of its width.
        range_cost: price of a step that ends one standard deviation beyond the range.
        behaviour: price of an action that departs from what the data's policy would have done by
            one standard deviation of that policy's noise; scaled down if the policy explains
            little of the data. Also lets plans begin at that policy.
        support_cost: price of a step with nothing behind it: far from all data, or where members
            contradict each other (:mod:`twinfold.planning.support_penalty`). A search over the
            data at every step: planning takes three to ten times longer.
        draws: draws of the agent's factors from their posterior for each member. With 0 the members
            differ in their nets alone; with more, what is not known of an agent with little data
            of its own counts in ``risk``, ``disagreement`` and ``support_cost`` as well. Costs as
            many times more.
        spread: standard deviation of the noise around a plan, as a share of the range of the
            action (``"icem"`` and ``"cem"``: in the first round).
        noise_beta: colour of that noise: its power falls with frequency ** -noise_beta; 0 is white.
        elite: share of the candidates that are elites (``"icem"``, ``"cem"``).
        keep: share of the elites that are tried again in the next round (``"icem"``).
        decay: size of a round over that of the one before (``"icem"``).
        momentum: share of the old mean and spread in the new ones (``"icem"``, ``"cem"``).
        warm_start: whether ``"cem"`` begins at the plan of the last control step; ``"icem"`` and
            ``"mppi"`` always do.
        execute: ``"mean"`` or ``"best"`` plan of ``"cem"``; ``"icem"`` takes the best, ``"mppi"``
            the mean.
        temperature: of ``"mppi"``; the smaller, the more the best candidates count.
        temperature_unit: ``"spread"`` (standard deviation of the scores) or ``"reward"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    planner: Literal["sticky", "shooting", "cem", "icem", "mppi"] = "sticky"
    candidates: int = Field(default=500, ge=4, le=1_000_000)
    horizon: int = Field(default=25, ge=1, le=10_000)
    rounds: int = Field(default=4, ge=1, le=100)
    terminal_value: Literal["none", "grid", "plans"] = "none"
    discount: float = Field(default=1.0, gt=0.0, le=1.0)
    progress: float = Field(default=0.0, ge=0.0)
    risk: float = Field(default=0.0, ge=0.0)
    cvar: float = Field(default=1.0, gt=0.0, le=1.0)
    disagreement: float = Field(default=0.0, ge=0.0)
    out_of_range: Literal["ignore", "truncate", "penalise"] = "ignore"
    range_margin: float = Field(default=0.1, ge=0.0)
    range_cost: float = Field(default=1.0, ge=0.0)
    behaviour: float = Field(default=0.0, ge=0.0)
    support_cost: float = Field(default=0.0, ge=0.0)
    draws: int = Field(default=0, ge=0, le=1000)
    spread: float = Field(default=0.25, gt=0.0)
    noise_beta: float = Field(default=2.0, ge=0.0, le=10.0)
    elite: float = Field(default=0.1, gt=0.0, le=0.5)
    keep: float = Field(default=0.3, ge=0.0, le=1.0)
    decay: float = Field(default=0.8, gt=0.0, le=1.0)
    momentum: float = Field(default=0.1, ge=0.0, lt=1.0)
    warm_start: bool = True
    execute: Literal["best", "mean"] = "best"
    temperature: float = Field(default=0.3, gt=0.0)
    temperature_unit: Literal["spread", "reward"] = "spread"

    def replace(self, **changes: Any) -> PlanConfig:
        """A copy with the changes that are not None, validated."""
        given = {name: value for name, value in changes.items() if value is not None}
        return PlanConfig(**{**self.model_dump(), **given})

    def without_data(self) -> PlanConfig:
        """The same for one model that was not learned: nothing to disagree, no data, no policy."""
        value = "none" if self.terminal_value == "plans" else self.terminal_value
        return self.replace(
            risk=0.0,
            cvar=1.0,
            disagreement=0.0,
            out_of_range="ignore",
            behaviour=0.0,
            support_cost=0.0,
            draws=0,
            terminal_value=value,
        )

    @property
    def needs_data(self) -> bool:
        """Whether plans are judged by where the training data lies."""
        priced = self.disagreement, self.behaviour, self.support_cost
        return any(price > 0 for price in priced) or self.out_of_range != "ignore"
