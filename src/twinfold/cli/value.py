"""``twinfold value``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from twinfold.cli.console import console, print_json, set_up_jax, talking, warn
from twinfold.cli.flags import Flag, Names, named_agents, shown
from twinfold.cli.future_flags import FutureFlags
from twinfold.cli.goal_flags import GoalFlags
from twinfold.cli.values import Coverage, Discount, Draws, Place, Seed, Steps, Trials
from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.data.ids import AgentId
    from twinfold.models.fitted_model import FittedModel
    from twinfold.report.tables import Table
    from twinfold.tasks import Task

_FEW = 5  # agents, if none are named


@Parameter(name="*")
@dataclass(frozen=True)
class RolloutFlags:
    """Settings of the rollouts of a policy.

    Attributes:
        draws: Worlds per agent.
        starts: Starts per world.
        horizon: Longest rollout, in steps.
        discount: Of the reward, per step.
        coverage: Of the intervals.
        seed: Of worlds, starts and policies.
        noise: Let the noise of the world move every step, and average over it.
    """

    draws: Draws = 20
    starts: Annotated[Trials | None, shown("200; 5 with plan")] = None
    horizon: Annotated[Steps | None, shown("the task's longest episode")] = None
    discount: Discount = 1.0
    coverage: Coverage = 0.9
    seed: Seed = 0
    noise: Flag = False

    def settings(self) -> dict[str, Any]:
        """Return them as the estimators call them."""
        given = asdict(self)
        return {"n_starts": given.pop("starts"), **given}


def value(
    run: Place,
    /,
    *,
    task: str | None = None,
    goal: GoalFlags = GoalFlags(),
    policy: str,
    against: str | None = None,
    agent: Annotated[Names, shown(f"the first {_FEW}")] = None,
    future: FutureFlags = FutureFlags(),
    rollouts: RolloutFlags = RolloutFlags(),
    json: Flag = False,
) -> None:
    """Estimate what a policy is worth to an agent, without trying it.

    By the agent's simulator: the policy acts in many worlds, each a member of
    the ensemble with one draw of what the agent may be. The interval says how
    far these worlds disagree, and what is left to chance by the number of
    starts.

      twinfold value run --task cart_pole --policy pure --against random --agent 0,1
      twinfold value run --reward "-(glucose - 110)^2" --policy plan --against random

    The figures are model-based: estimates from a learned model, not from data
    of the policy. With --against, both policies act from the same starts in
    the same worlds, and the difference is better known than either value.

    Args:
        run: Run directory of a fit.
        task: mountain_car, cart_pole or half_cheetah; gives starts, reward and end of an episode.
        goal: What a policy is worth, in place of a task; starts are states of the data.
        policy: random, or plan: with a new plan at every step (takes minutes); of a built-in task
            also test, pure, pure-eps-20 and pure-eps-40.
        against: Another one to compare it with.
        agent: Ids of agents, separated by commas; the flag may be repeated.
        future: What exogenous columns will be, from the first step of every episode on.
        rollouts: How a policy is rolled out.
        json: Print one record per agent instead of a table.
    """
    set_up_jax()
    from twinfold.training.run_directory import load_run

    built_in = goal.built_in(task)
    model = load_run(run)
    scenario = future.table(model)
    chosen = built_in or goal.of_run(model)
    agents = named_agents(agent, model) or model.agent_ids[:_FEW]
    with talking(json) as talk:
        if "plan" in (policy, against):
            talk.line("a plan is made at every step of every rollout; this takes minutes")
        found = []
        for done, name in enumerate(agents):
            talk.progress("agents", done, len(agents))
            told = {**rollouts.settings(), **future.of_agent(model, scenario, name)}
            found.append(_estimate(model, chosen, name, policy, against, told))
        talk.progress("agents", len(agents), len(agents))
    _check_finite(found, chosen)
    if json:
        print_json({"kind": "policy_values", "model_based": True, "values": found})
    else:
        _show(found)
    _doubts(model, found)


def _estimate(
    model: FittedModel,
    task: Task,
    agent: AgentId,
    policy: str,
    against: str | None,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return the record of one agent: the value of a policy, or how two compare."""
    from twinfold.ope.policy_value import compare_policies, policy_value

    if against is None:
        return policy_value(model, task, agent, policy, **settings).record()
    return compare_policies(model, task, agent, policy, against, **settings).record()


def _check_finite(records: list[dict[str, Any]], task: Task) -> None:
    """Refuse figures none of which is one.

    Raises:
        UsageError: no agent has a world whose rollouts have a finite return.
    """
    parts = [part for row in records for part in ((row["a"], row["b"]) if "a" in row else (row,))]
    if all(part["diverged"] == part["n_draws"] for part in parts):
        raise UsageError(
            f"no world has finite returns: the reward ({getattr(task, 'name', 'custom')}) divides "
            "by zero, takes the logarithm of a negative number, or is too large, or the rollouts "
            "diverge"
        )


def _show(records: list[dict[str, Any]]) -> None:
    from twinfold.cli.render import show_table

    make = _differences if "a" in records[0] else _values
    out = console()
    show_table(out, make(records))
    out.print(f"model-based: {records[0]['note'][0].lower()}{records[0]['note'][1:]}")


def _values(records: list[dict[str, Any]]) -> Table:
    from twinfold.report.tables import Table, number

    first = records[0]
    level = f"{100 * first['coverage']:g} %"
    return Table(
        ("agent", "value", level, "spread of worlds", "error by starts", "steps", "outside data"),
        tuple(
            (
                str(row["agent"]),
                number(row["value"]),
                _range(row),
                number(row["model_sd"]),
                number(row["start_se"]),
                number(row["mean_steps"]),
                f"{100 * row['outside']:.0f} %",
            )
            for row in records
        ),
        f"Model-based value of policy {first['policy']}: return of at most {first['horizon']} "
        f"steps, {first['n_draws']} worlds, {first['n_starts']} starts",
    )


def _differences(records: list[dict[str, Any]]) -> Table:
    from twinfold.report.tables import Table, number

    one, other = records[0]["a"], records[0]["b"]
    level = f"{100 * one['coverage']:g} %"
    a, b = one["policy"], other["policy"]
    return Table(
        ("agent", a, level, b, level, "difference", level, f"P({a} is better)", "outside data"),
        tuple(
            (
                str(row["agent"]),
                number(row["a"]["value"]),
                _range(row["a"]),
                number(row["b"]["value"]),
                _range(row["b"]),
                number(row["difference"]),
                _range(row),
                f"{row['probability']:.2f}",
                f"{100 * row['a']['outside']:.0f} %, {100 * row['b']['outside']:.0f} %",
            )
            for row in records
        ),
        f"Model-based comparison of {a} with {b}: return of at most {one['horizon']} steps, "
        f"{one['n_draws']} worlds, {one['n_starts']} starts, the same for both",
    )


def _range(row: dict[str, Any]) -> str:
    from twinfold.report.tables import number

    return f"{number(row['low'])} to {number(row['high'])}"


def _doubts(model: FittedModel, records: list[dict[str, Any]]) -> None:
    """Say for which policies and agents the model is a guess."""
    from twinfold.ope.estimates import VALUE_SETTINGS
    from twinfold.simulation.inputs import NO_REACTION

    if not model.members.reacts:
        warn(NO_REACTION)
    values = [part for row in records for part in ((row["a"], row["b"]) if "a" in row else (row,))]
    for row in values:
        name = f"policy {row['policy']}, agent {row['agent']}"
        if row["diverged"]:
            warn(
                f"{name}: rollouts diverge, or have no finite reward, in {row['diverged']} of "
                f"{row['n_draws']} worlds"
            )
        if row["outside"] > VALUE_SETTINGS.outside:
            warn(
                f"{name}: {100 * row['outside']:.0f} % of the steps lead out of the range of the "
                "training data; the figure is a guess"
            )
