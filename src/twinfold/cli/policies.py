"""``twinfold policies``: train, list."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from twinfold.cli.console import console, paced, print_json, set_up_jax
from twinfold.cli.flags import Flag, Names, check_outputs, names
from twinfold.cli.values import Place, Seed

app = App(
    name="policies",
    help="Train and list the policies that the benchmark data comes from.",
    help_format="plaintext",
)


@app.command
def train(
    *,
    task: str,
    out: Place = Path("policies"),
    seed: Seed = 0,
    only: Names = None,
    json: Flag = False,
) -> None:
    """Train the behaviour policies and the test policy of a built-in task.

    DQN for discrete actions, TD3 for continuous ones, in the task's true
    dynamics. Behaviour policies are numbered 0, 1, ... and trained on one agent
    each; the policy "test" is trained on the default agent. Training stops soon
    after the target return, and the network nearest to the target is kept. The
    policies that come with twinfold were made by this command with seed 0.

      twinfold policies train --task cart_pole --out policies
      twinfold policies train --task half_cheetah --only 0 --only test

    Needs SBX: pip install 'twinfold[policies]'.

    Args:
        task: mountain_car, cart_pole or half_cheetah.
        out: Folder for the networks (.safetensors) and their recipes (.json).
        seed: Of the first policy; the others follow from it.
        only: Policies to train, such as 0 or test; all unless given.
        json: Print the records of the policies at the end, instead of progress lines.
    """
    check_outputs({"out": ()}, out=out / "policy.json")
    set_up_jax()
    from twinfold.policies.train import train_policies
    from twinfold.tasks import get_task

    def say(line: str) -> None:
        if not json:
            print(line, flush=True)

    records = train_policies(
        get_task(task), out, seed=seed, only=names(only), log=say, progress=paced(say)
    )
    if json:
        print_json({"policies": records})


@app.command(name="list")
def list_policies(*, json: Flag = False) -> None:
    """Show the trained policies that come with twinfold, and what they earn.

    One row per network: what it was trained on, and its mean return on that
    agent and on the five test agents of the task. The data policies "pure",
    "pure-eps-20" and "pure-eps-40" use the numbered networks, "test" the last.

      twinfold policies list

    Args:
        json: Print the full records instead: settings, seeds, steps, spreads.
    """
    from twinfold.policies import shipped_records
    from twinfold.tasks import TASK_NAMES

    records = shipped_records(TASK_NAMES)
    if json:
        print_json({"policies": records})
        return
    from twinfold.cli.render import show_policies

    show_policies(console(), records)
