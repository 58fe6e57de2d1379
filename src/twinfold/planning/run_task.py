"""A task made of a run: the user's reward and end of an episode, actions and ranges of the data.

A built-in task brings its own physics; here nothing is known of an agent but what its simulator
predicts. Axes: D state columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from twinfold.data.actions import ActionCode
from twinfold.data.expression import quoted
from twinfold.data.expression_value import Expression, bind, reads
from twinfold.data.faults.sentinels import varying_rows
from twinfold.data.ids import AgentId
from twinfold.data.levels import coded_places
from twinfold.errors import UsageError
from twinfold.models.dynamics import Dynamics
from twinfold.models.fitted_model import FittedModel
from twinfold.models.learned_goal import SmoothFunction
from twinfold.planning.choice import ActionChoice, ChosenDynamics
from twinfold.tasks.task import Task
from twinfold.utils.text import counted

FORBIDDEN = 1e9
"""What a step with a forbidden action costs: more than any plan can earn."""


@dataclass(frozen=True)
class RunTaskSettings:
    """Numbers that hold where the user does not say them.

    Attributes:
        max_steps: the longest episode, in steps.
        handful: rows that are too few to know from what an action does.
        fewest_rows: of the data, below which nothing is said of that.
        amounts: of each level that are tried for which of them are forbidden.
    """

    max_steps: int = 100
    handful: int = 2
    fewest_rows: int = 10
    amounts: int = 4001


RUN_TASK = RunTaskSettings()
"""Those of every task made of a run."""


@dataclass(frozen=True)
class ExpressionReward:
    """``(state, action, next_state) -> scalar``: what an expression over columns says.

    Attributes:
        reward: what a step earns.
        forbidden: which actions cost ``FORBIDDEN``; None if none do.
        choice: what an action is made of.
    """

    reward: Expression | Callable[..., Any]
    forbidden: Expression | None
    choice: ActionChoice

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """Return those that say what a step earns."""
        return tuple(x for x in (self.reward, self.forbidden) if isinstance(x, Expression))

    def __call__(self, state: Any, action: Any, next_state: Any) -> Any:
        """Return the reward of a step."""
        level, amount = self.choice.parts(action)
        earned = jnp.asarray(self.reward(state, level, amount, next_state, jnp), jnp.float32)
        if self.forbidden is not None:
            broken = self.forbidden(state, level, amount, next_state, jnp)
            earned = earned - jnp.where(jnp.asarray(broken) != 0, FORBIDDEN, 0.0)
        return earned


@dataclass(frozen=True)
class ExpressionEnd:
    """``(next_state) -> bool``: whether an episode ends in a state; None for never."""

    ends: Expression | Callable[..., Any] | None

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """Return the one that says it, if one does."""
        return (self.ends,) if isinstance(self.ends, Expression) else ()

    def __call__(self, next_state: Any) -> Any:
        """Return whether the episode ends there."""
        if self.ends is None:
            return jnp.zeros((), bool)
        return jnp.asarray(self.ends(next_state, None, None, next_state, jnp)) != 0


def run_task(
    model: FittedModel,
    reward: str | None = None,
    terminated: str | None = None,
    *,
    forbidden: str | None = None,
    max_steps: int | None = None,
) -> Task:
    """Return a task with the states and actions of a run.

    Args:
        model: a fitted model.
        reward: what a step earns, an expression over columns; that of the run's roles if None.
        terminated: whether an episode ends in a state, likewise; never if nothing says it.
        forbidden: which actions may not be taken, an expression over action columns, and exogenous
            and static ones.
        max_steps: the longest episode; 100 if None.

    Raises:
        UsageError: the run has no actions, nothing says what is earned, an expression cannot be
            read, or all levels are forbidden.
    """
    roles, code = model.roles, model.action_code
    if not roles.action:
        raise UsageError(
            "the run has no action column: it predicts, and there is nothing to choose by a plan "
            "or a policy"
        )
    earned, name = _reward(model, reward)
    ends = _end(model, terminated)
    ban = (
        None if forbidden is None else bind(forbidden, code, "--forbid", "forbidden", model.levels)
    )
    choice = _choice(model, ban)
    by_step = ban is not None and not reads(ban) <= _discrete_columns(model)
    low, high = choice.bounds or (None, None)
    return Task(
        name=name,
        state_names=roles.state,
        action_names=roles.action,
        action_type="discrete" if roles.discrete else "continuous",
        n_actions=choice.n_actions,
        action_low=low,
        action_high=high,
        covariate_names=(),
        covariate_low=np.zeros(0),
        covariate_high=np.zeros(0),
        test_agents=np.zeros((0, 0)),
        max_steps=max_steps or RUN_TASK.max_steps,
        state_low=model.ranges.state_low,
        state_high=model.ranges.state_high,
        make_covariates=tuple,
        reset=_recorded(model),
        step=_no_physics,
        reward=ExpressionReward(earned, ban if by_step else None, choice),
        terminated=ExpressionEnd(ends),
        angle_names=roles.angle,
        choice=choice,
    )


def acted_on(
    stack: Dynamics, task: object, model: FittedModel | None = None, agent: AgentId | None = None
) -> Dynamics:
    """Return a run's simulators of an agent as whoever acts in a task sees them.

    Args:
        stack: of the agent, with a leading axis on every array.
        task: what is acted in.
        model: the run; needed, as is the agent, where expressions read static or exogenous columns.
        agent: the user's id.

    Raises:
        UsageError: an expression reads a static column that is not known of the agent, or reads
            such columns and no model is given.
    """
    choice = getattr(task, "choice", None)
    if choice is None:
        return stack
    parts = (getattr(task, "reward", None), getattr(task, "terminated", None))
    read = [x for part in parts for x in getattr(part, "expressions", ()) if x.reads_beside]
    if not read:
        return ChosenDynamics(stack, choice)
    if model is None or agent is None:
        raise UsageError(
            f"{read[0].text!r} reads static or exogenous columns: give acted_on the model and the "
            "agent too"
        )
    own = _static_values(model, agent, {name for x in read for name in reads(x)})
    size = jax.tree.leaves(eqx.filter(stack, eqx.is_array))[0].shape[0]
    return ChosenDynamics(stack, choice, jnp.tile(jnp.asarray(own, jnp.float32), (size, 1)))


def _static_values(model: FittedModel, agent: AgentId, needed: set[str]) -> np.ndarray:
    """Return an agent's static columns, coded ``(C,)``; those that are needed are known."""
    roles, values = model.roles, model.posterior.values
    places = coded_places(roles.static, model.levels)
    if values is None and needed & set(roles.static):
        raise UsageError(
            "the run does not keep its static columns: fit it again, with this version"
        )
    if values is None:
        return np.zeros(places[-1][1].stop if places else 0)
    own = values[model.agent_index(agent)]
    for name, place in places:
        if name in needed and np.isnan(own[place]).any():
            raise UsageError(
                f"agent {agent!r}: {name!r} (static) is not known, and an expression reads it; add "
                "it by adapt, or write the expression without it"
            )
    return np.nan_to_num(own)


def _reward(model: FittedModel, given: str | None) -> tuple[Callable[..., Any], str]:
    """Return what a step earns, and a name for it: as given, by the roles, or learned."""
    roles, code, goal = model.roles, model.action_code, model.goal
    text = given if given is not None else roles.reward_expression
    if text is not None:
        what = "--reward" if given is not None else "the reward of the run's roles"
        return bind(text, code, what, levels=model.levels), text
    if goal is None or goal.reward is None:
        raise UsageError(
            "nothing says what is to be gained: give --reward, an expression over columns such as "
            f"'-({quoted(roles.state[0])} - 1)^2', or the --task of a built-in one"
        )
    if goal.explained <= 0:
        raise UsageError(
            f"the reward column {roles.reward!r} cannot be told from state, action and next state: "
            "give --reward, an expression over columns"
        )
    share = f"{100 * goal.explained:.0f} % of it explained"
    return LearnedReward(code, goal.reward), f"reward column {roles.reward!r}, learned ({share})"


def _end(model: FittedModel, given: str | None) -> Callable[..., Any] | None:
    """Return whether an episode ends in a state: as given, by the roles, or learned."""
    kept, goal = model.roles.terminated_expression, model.goal
    text = given if given is not None else kept
    if text is not None:
        what = "--terminated" if given is not None else "the end in the run's roles"
        return bind(text, model.action_code, what, "terminated", model.levels)
    return None if goal is None or goal.end is None else LearnedEnd(goal.end)


@dataclass(frozen=True, eq=False)
class LearnedReward:
    """A learned reward, called as an expression is."""

    code: ActionCode
    function: SmoothFunction

    def __call__(self, state: Any, level: Any, amount: Any, next_state: Any, xp: Any) -> Any:
        """Return the reward of a step."""
        n_state = len(self.code.roles.state)
        state, next_state = state[..., :n_state], next_state[..., :n_state]
        action = amount
        if self.code.roles.mixed:
            action = self.code.pack(level, amount, xp)
        elif level is not None:
            action = (level[..., None] == xp.arange(len(self.code.levels))) * 1.0
        return self.function(xp.concatenate([state, action, next_state], axis=-1), xp)


@dataclass(frozen=True, eq=False)
class LearnedEnd:
    """A learned end of an episode, called as an expression is."""

    function: SmoothFunction

    def __call__(self, state: Any, level: Any, amount: Any, next_state: Any, xp: Any) -> Any:
        """Return whether an episode ends in a state."""
        return self.function(next_state[..., : len(self.function.mean)], xp) > 0


def _discrete_columns(model: FittedModel) -> set[str]:
    return {model.roles.action[i] for i in model.action_code.places[0]}


def _choice(model: FittedModel, ban: Expression | None) -> ActionChoice:
    """Return the choice among what was seen, without what is forbidden whatever goes beside it."""
    choice = ActionChoice.of_model(model, np.flatnonzero(level_counts(model) > 0).tolist())
    if ban is None or ban.reads_beside:
        return choice
    points = RUN_TASK.amounts if choice.bounds else 1
    with np.errstate(all="ignore"):  # 1 / 0 is infinite, as in a plan
        left = choice.without(lambda level, amount: ban(None, level, amount, None), points)
    if left is None:
        raise UsageError(f"--forbid {ban.text!r} forbids every action that was ever taken")
    return left


def level_counts(model: FittedModel) -> np.ndarray:
    """Return how many transitions of the data took each level, ``(L,)``; empty without levels.

    Where values are missing they are those of the column with most, and none that was taken is 0.
    """
    code, norm = model.action_code, model.normalizer
    n_levels = len(code.levels)
    if code.roles.mixed:
        total = float(model.sums.count.sum())
        return np.round(norm.action_mean[:n_levels] * total)
    size = model.sums.gram.shape[-1]
    first = size - n_levels if model.uneven else 1 + norm.n_inputs  # linear_terms.over_step
    places = np.arange(first, first + n_levels)
    counts = model.sums.gram[..., places, places].sum(axis=0)  # (L,), or (D, L)
    return np.ceil(counts.max(axis=0) - 1e-6) if model.sums.by_column else np.round(counts)


def unknown_effect(model: FittedModel, codes: np.ndarray) -> str | None:
    """Return why nothing is known of what actions do that a plan takes; None if something is.

    That is so of a level that was hardly ever taken, and of an amount whose whole variation rests
    on a handful of rows: ``K var / range^2`` is the number of rows at an end of its range that
    would vary as much.

    Args:
        model: a fitted model.
        codes: of the plan, ``(H,)`` or ``(H, A)``.
    """
    code, rows = model.action_code, float(model.sums.count.sum())
    if rows < RUN_TASK.fewest_rows or not code.roles.action:
        return None
    if code.levels:
        level = code.unpack(codes)[0] if code.roles.mixed else codes
        counts = level_counts(model)
        for each in np.unique(level[counts[level] <= RUN_TASK.handful]):
            return (
                f"the plan takes the action {code.level_names[each]}, and of what it does "
                f"{counted(int(counts[each]), 'row')} of the data are all that is known"
            )
    if code.roles.discrete or code.roles.mixed:
        return None
    width = model.ranges.action_high - model.ranges.action_low
    varied = rows * (model.normalizer.action_scale / np.where(width > 0, width, 1.0)) ** 2
    for c in np.flatnonzero((width > 0) & (varied < RUN_TASK.handful + 0.5)):
        # Of few rows that all vary the ends are as rare; the kept ones tell which it is.
        values = model.sample.action[:, c]
        if np.ptp(values) > 0 and not len(varying_rows(values)[0]):
            continue
        return (
            f"what {code.roles.action[c]!r} does rests on a handful of rows: it is the same in all "
            "others"
        )
    return None


def _recorded(model: FittedModel) -> Callable[[Any, Any], Any]:
    """Return ``(covariates, key) -> state``: states of the data, drawn at random."""
    states = np.asarray(model.sample.state, np.float32)

    def reset(covariates: Any, key: Any) -> Any:
        del covariates
        return jnp.asarray(states)[jax.random.randint(key, (), 0, len(states))]

    return reset


def _no_physics(covariates: Any, state: Any, action: Any) -> Any:
    raise UsageError("a task made of a run has no true dynamics to act in; use its simulators")
