"""Recipes of training: settings that belong together, tried on held-out data.

The default nets are cheap and serve most tables. Two kinds of table want others:

contact  many state columns whose next values depend on each other in jumps, as where bodies touch:
         wide, smooth nets of state and action together, a second phase of training on predictions
         over many steps, and columns that hardly depend on their last value predicted themselves
fine     next to no noise, and errors that grow fast in a rollout: few terms, and last layer and
         factors solved for in closed form until next to nothing is left

All of these were settled on recorded data of simulated tasks (docs/method.md).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from twinfold.config import FitConfig


class Recipe(NamedTuple):
    """Settings that belong together.

    Attributes:
        name: in logs and records.
        settings: of ``FitConfig`` that differ from what is there.
    """

    name: str
    settings: dict[str, Any]


CONTACT = Recipe(
    "contact",
    {
        "features": "auto",
        "direct": True,
        "state_net": (256, 256),
        "activation": "silu",
        "learning_rate": 5e-3,
        "weight_decay": 0.1,
        "batch_size": 256,
        "steps": 20_000,
        "unroll": 16,
        "unroll_steps": 1000,
        "structure_share": 0.15,
        "schedules": (1.0,),
        "shrinkages": (0.03, 0.3),
    },
)

FINE = (
    Recipe(
        "fine, 4 terms",
        {
            "rank": 4,
            "activation": "silu",
            "polish": 20,
            "schedules": (1.0,),
            "shrinkages": (0.3, 3.0),
        },
    ),
    Recipe(
        "fine, 6 terms",
        {
            "rank": 6,
            "activation": "silu",
            "learning_rate": 2e-2,
            "batch_size": 256,
            "steps": 100_000,
            "polish": 20,
            "schedules": (1.0,),
            "shrinkages": (0.0001, 0.001),
        },
    ),
)


def followed(config: FitConfig, recipe: Recipe) -> FitConfig:
    """Return the config with a recipe's settings, except for those that the user gave."""
    given = config.model_fields_set
    return config.model_copy(
        update={name: value for name, value in recipe.settings.items() if name not in given}
    )
