"""What a rollout remembers of its last steps, standardised."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from twinfold.data.panel import PanelDataset
from twinfold.models.normalizer_fit import fit_normalizer
from twinfold.utils.device import on_device


@pytest.mark.parametrize("kind", ["continuous", "discrete", "exogenous", "uneven", "angle"])
@pytest.mark.parametrize("changes_alone", [False, True])
def test_what_a_rollout_remembers_is_what_the_rows_say(kind: str, changes_alone: bool) -> None:
    """Led along the true states, the carry is that of each next row; on the device as well."""
    rng = np.random.default_rng(4)
    t = np.cumsum(rng.uniform(0.3, 2.0, 14)) if kind == "uneven" else np.arange(14.0)
    table = pd.DataFrame({"id": 0, "t": t, "x": rng.normal(size=14), "y": rng.normal(size=14)})
    table["a"] = rng.permutation(14) % 3 if kind == "discrete" else rng.normal(size=14)
    table["w"] = rng.normal(size=14)
    roles = {"agent": "id", "time": "t", "state": ["x", "y"], "action": ["a"]}
    roles |= {"action_type": "discrete" if kind == "discrete" else "continuous"}
    roles |= {"exogenous": ["w"]} if kind in ("exogenous", "uneven") else {}
    roles |= {"angle": ["y"]} if kind == "angle" else {}
    panel = PanelDataset.from_frame(table, roles, time_step="variable" if kind == "uneven" else 1.0)
    assert panel.uneven == (kind == "uneven")
    data = panel.transitions(4, changes_alone=changes_alone)
    normalizer = fit_normalizer(data, (1,) if kind == "angle" else (), uneven=panel.uneven)
    n_acted = {"continuous": 1, "discrete": 3, "exogenous": 2, "uneven": 2, "angle": 1}[kind]
    assert normalizer.n_memory == 3 * (2 + (0 if changes_alone else n_acted))
    starts = normalizer.carry(data.start)
    codes = normalizer.encode_action(data.action)
    for norm, array, off in (
        (normalizer, np.asarray, 1e-12),
        (normalizer.on_device(), on_device, 1e-4),
    ):
        carry = array(starts[0])
        for k in range(len(data) - 1):
            away = normalizer.difference(data.state[k], data.next_state[k])
            after = carry[:2] + array(away / normalizer.state_scale)  # an angle the short way
            carry = norm.moved(carry, after, codes[k])
            carry = norm.told(carry, norm.known_of(array(starts[k + 1])))
            np.testing.assert_allclose(carry[2:], starts[k + 1, 2:], atol=off)
