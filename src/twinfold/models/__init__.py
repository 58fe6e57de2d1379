"""Models: nets and factors, normalisation, posterior, rollouts.

- ``dynamics``: the seam; ``factor_model``: Z(s, a) u; ``linear`` and
  ``linear_terms``: its linear part.
- ``normalizer``, ``ranges``: units and ranges of the data.
- ``posterior``, ``static_prior``: what is known of agents.
- ``fitted_model``: what a fit returns; ``rollout``: predictions of many agents at once.
- ``behaviour_policy``: the policy that the data followed; ``true_dynamics``: a task as dynamics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.models.dynamics import Dynamics
    from twinfold.models.factor_model import Structure, structures
    from twinfold.models.fitted_model import FittedModel
    from twinfold.models.rollout import agent_responses

_HOME = {
    "Dynamics": "twinfold.models.dynamics",
    "FittedModel": "twinfold.models.fitted_model",
    "Structure": "twinfold.models.factor_model",
    "agent_responses": "twinfold.models.rollout",
    "structures": "twinfold.models.factor_model",
}

__all__ = [
    "Dynamics",
    "FittedModel",
    "Structure",
    "agent_responses",
    "structures",
]

__getattr__ = lazy_exports(__name__, _HOME)
