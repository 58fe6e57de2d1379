"""Models: nets and factors, normalisation, posterior, rollouts.

- ``dynamics``: the seam; ``factor_model``: Z(s, a) u; ``linear`` and
  ``linear_terms``: its linear part, of the kinds in ``linear_kinds``; ``linear_static``: what
  static columns say of agents in it.
- ``normalizer``, ``ranges``: units and ranges of the data.
- ``posterior``, ``static_prior``: what is known of agents.
- ``filling``, ``net_filling``: what stands for missing values, by linear models and by nets;
  ``state_filter`` is what both go by.
- ``fitted_model``: what a fit returns; ``calibration``: what its band rests on; ``rollout``:
  predictions of many agents at once.
- ``behaviour_policy``: the policy that the data followed; ``true_dynamics``: a task as dynamics.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
