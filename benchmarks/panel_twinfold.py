"""twinfold as a stranger uses it on a panel: fit with defaults, adapt, predict, validate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from panel_data import Window
from panel_frame import Panel

import twinfold
from twinfold.adaptation.adapt import adapt
from twinfold.errors import TwinfoldError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

CHOSEN = ("linear", "features", "rank", "steps", "shrinkage", "choice", "reserved_agents")
"""What is kept of a run's information, where there is such an entry."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """Answers to a list of windows.

    Attributes:
        states: predicted states ``(H, D)`` of each.
        lower, upper: the band, likewise.
        refused: what the first refusal said; the actions were then clipped to the training range
            and the question asked again. None if nothing was refused.
        warnings: what was said of the answers.
    """

    states: list[Floats]
    lower: list[Floats]
    upper: list[Floats]
    refused: str | None = None
    warnings: list[str] = field(default_factory=list)


def roles_of(panel: Panel) -> twinfold.Roles:
    """Return the roles of a panel's columns; without an action nobody acts."""
    acts = {"action": panel.action, "action_type": panel.action_type} if panel.action else {}
    return twinfold.Roles(
        agent=panel.agent, time=panel.time, state=panel.state, static=panel.static, **acts
    )


def dataset_of(frame: pd.DataFrame, panel: Panel) -> twinfold.PanelDataset:
    """Return a table that came through the data door."""
    return twinfold.PanelDataset.from_frame(frame, roles_of(panel))


def learn(
    train: pd.DataFrame, panel: Panel, seed: int, settings: dict[str, Any]
) -> tuple[twinfold.FittedModel, float]:
    """Return the model that ``twinfold fit`` makes of a training table, and the seconds it took.

    Args:
        train: training table.
        panel: what its columns are.
        seed: seed of the fit.
        settings: further settings; none for the defaults.
    """
    from twinfold.uncertainty.conformal import split_reserved

    begun = time.perf_counter()
    config = twinfold.FitConfig.parse({"seed": seed, **settings})
    dataset, reserved = split_reserved(dataset_of(train, panel), "auto", seed)
    model = twinfold.fit(dataset, config, reserve=0 if reserved is None else reserved)
    return model, time.perf_counter() - begun


def adapted(model: twinfold.FittedModel, panel: Panel, new: Sequence[Window]) -> Any:
    """Return the model that also knows the prefixes of new agents."""
    import pandas as pd

    rows = pd.concat([window.rows for window in new], ignore_index=True)
    return adapt(model, dataset_of(rows, panel), warn=lambda line: None)


def predict(
    model: twinfold.FittedModel, panel: Panel, windows: Sequence[Window], train: pd.DataFrame
) -> Predicted:
    """Return the answers of a model that knows the agents of all windows.

    Args:
        model: the model.
        panel: what the columns are.
        windows: windows to be predicted.
        train: training table, whose range actions are clipped to if they are refused.
    """
    said: list[str] = []
    refused = None
    try:
        found = twinfold.answer(model, _queries(panel, windows, model.history), said.append)
    except TwinfoldError as error:
        refused = str(error).splitlines()[0]
        table = _queries(panel, windows, model.history, train)
        found = twinfold.answer(model, table, said.append)
    edges = np.cumsum([len(window.truth) for window in windows])[:-1]

    def column_blocks(suffix: str) -> list[Floats]:
        names = [name + suffix for name in panel.state]
        return np.split(found[names].to_numpy(float), edges)

    return Predicted(
        column_blocks(""), column_blocks("_lower"), column_blocks("_upper"), refused, said
    )


def _queries(
    panel: Panel, windows: Sequence[Window], context: int, within: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return a table of questions, one per window; actions clipped to the range of ``within``.

    Args:
        panel: what the columns are.
        windows: windows to be predicted.
        context: rows with a state that a question begins with, the start included.
        within: a table, whose range actions are clipped to.
    """
    import pandas as pd

    tables = []
    for number, window in enumerate(windows):
        known = window.rows.iloc[-context:-1]
        table = pd.concat([known, window.future.iloc[:-1]], ignore_index=True)
        table.loc[len(known) + 1 :, list(panel.state)] = np.nan  # it is to be predicted
        table.insert(0, "query_id", number)
        before = window.prefix_action[len(window.prefix_action) - len(known) :]
        for k, name in enumerate(panel.action):
            values = np.concatenate([before[:, k], window.action[:, k]])
            if within is not None and panel.action_type == "discrete":
                levels = within[name].dropna().to_numpy(float)
                values = levels[np.abs(values[:, None] - levels).argmin(axis=1)]
            elif within is not None:
                values = np.clip(values, within[name].min(), within[name].max())
            table[name] = values.astype(int) if panel.action_type == "discrete" else values
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def band_record(predicted: Predicted, windows: Sequence[Window], sd: Floats) -> dict[str, float]:
    """Return how many whole trajectories and values the band holds, and its mean width in sd."""
    inside = [
        (window.truth >= low) & (window.truth <= high)
        for window, low, high in zip(windows, predicted.lower, predicted.upper, strict=True)
    ]
    widths = [
        np.mean((high - low) / sd)
        for low, high in zip(predicted.lower, predicted.upper, strict=True)
    ]
    return {
        "coverage": float(np.mean([held.all() for held in inside])),
        "values": float(np.mean([held.mean() for held in inside])),
        "width": float(np.mean(widths)),
    }


def verdict_record(
    model: twinfold.FittedModel, panel: Panel, windows: Sequence[Window], seed: int
) -> dict[str, Any]:
    """Return what ``validate`` says of the rows that were cut off.

    Of known agents it is shown their ends, of new ones all rows.
    """
    import pandas as pd

    tables = [
        window.future if window.known else pd.concat([window.rows.iloc[:-1], window.future])
        for window in windows
    ]
    return _verdict(model, panel, pd.concat(tables, ignore_index=True), seed, seen=False)


def own_verdict_record(
    model: twinfold.FittedModel, panel: Panel, train: pd.DataFrame, seed: int
) -> dict[str, Any]:
    """Return what ``validate`` says without fresh data, by the agents reserved from the fit."""
    return _verdict(model, panel, train, seed, seen=True)


def _verdict(
    model: twinfold.FittedModel, panel: Panel, frame: pd.DataFrame, seed: int, *, seen: bool
) -> dict[str, Any]:
    from twinfold.validation.validate import validate

    try:
        found = validate(model, dataset_of(frame, panel), seen=seen, seed=seed)
    except TwinfoldError as error:
        return {"verdict": None, "refused": str(error).splitlines()[0]}
    return {
        "verdict": found.verdict,
        "agents": found.record.get("agents"),
        "failed": [check.name for check in found.checks if check.status == "fail"],
        "warned": [check.name for check in found.checks if check.status == "warn"],
    }


def chosen_record(model: twinfold.FittedModel) -> dict[str, Any]:
    """Return what the fit chose, as far as the run says it."""
    info = model.info.to_dict()
    return {name: info[name] for name in CHOSEN if name in info}
