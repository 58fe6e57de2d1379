"""A small panel of pumps, and the fit of it that nothing interrupts."""

from __future__ import annotations

from typing import Any

import pytest

from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.training.fit import fit


@pytest.fixture(scope="session")
def tiny(pumps: Any) -> PanelDataset:
    """Seven pumps with twelve rows each."""
    return pumps.panel([12] * 7)


@pytest.fixture(scope="session")
def uninterrupted(pumps: Any, tiny: PanelDataset) -> FittedModel:
    """What the tiny settings make of them."""
    return fit(tiny, pumps.TINY)
