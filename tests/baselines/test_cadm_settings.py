"""Settings of CaDM: the published ones, and what cannot be."""

from __future__ import annotations

import pytest

from twinfold import UsageError
from twinfold.baselines.cadm_settings import CaDMSettings


def test_the_defaults_are_the_published_ones() -> None:
    settings = CaDMSettings()
    assert (settings.hidden, settings.encoder) == ((200,) * 4, (256, 128, 64))
    assert (settings.context, settings.history, settings.future) == (10, 10, 10)
    assert (settings.backward_weight, settings.batch, settings.learning_rate) == (0.5, 256, 1e-3)
    assert (settings.n_members("vanilla"), settings.n_particles("vanilla")) == (1, 1)
    assert (settings.n_members("pe-ts"), settings.n_particles("pe-ts")) == (5, 20)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"steps": 0}, "'steps' cannot be 0"),
        ({"depth": 3}, "unknown setting 'depth'; valid: hidden, encoder"),
        ({"hidden": []}, "'hidden' cannot be"),
        ({"learning_rate": float("nan")}, "'learning_rate' cannot be nan"),
        ({"log_variance": [1.0, -1.0]}, "log_variance"),
    ],
)
def test_what_cannot_be_is_told(values, told) -> None:
    with pytest.raises(UsageError, match=told):
        CaDMSettings.parse(values)
