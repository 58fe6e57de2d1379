"""What changed actions would do, where the field knows the answer or its sign.

Every question asks for the ends of known agents twice, with and without a change of all actions;
the effect is the difference of the first state column after the last step.

    Remifentanil  infusion halved: difference of log concentration, beside the three-compartment
                  model of Minto et al. (Anesthesiology 86:10-23, 1997) for the patient's
                  age and lean body mass
    dietox        a fifth more feed: kg; pigs do not get lighter
    driving       a primary seat belt law; .08 instead of .10 per cent alcohol: log deaths; fewer
    Cigar         prices a tenth higher: packs per head; fewer
    Gasoline      prices a tenth higher: log use per car; less
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from panel_data import Window, end_window
from panel_frame import Panel, fetch

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

INFUSION_STEPS = 6
INFUSION_START = 2  # the third sample


@dataclass(frozen=True, eq=False)
class Question:
    """One change of actions, asked of many agents.

    Attributes:
        name: in words.
        base: windows without the change.
        changed: the same windows with it.
        sign: +1 or -1, the direction that the field expects.
        domain: effects ``(n,)`` by a model of the field; None where only the sign is known.
    """

    name: str
    base: list[Window]
    changed: list[Window]
    sign: int
    domain: Floats | None = None


def questions(panel: Panel, train: pd.DataFrame, known: Sequence[Window]) -> list[Question]:
    """Return the questions that a panel has an answer to; none for most panels."""
    if panel.name == "Remifentanil":
        return [halved_infusion(panel, train)]

    def ask(name: str, sign: int, *changes: Callable[[Floats], Floats]) -> Question:
        versions = [[replace(w, action=change(w.action)) for w in known] for change in changes]
        base = list(known) if len(versions) == 1 else versions[0]
        return Question(name, base, versions[-1], sign)

    place = {name: k for k, name in enumerate(panel.action)}

    def put(**values: float) -> Callable[[Floats], Floats]:
        def change(action: Floats) -> Floats:
            action = action.copy()
            for name, value in values.items():
                action[:, place[name]] = value
            return action

        return change

    def shift(name: str, add: float, times: float) -> Callable[[Floats], Floats]:
        def change(action: Floats) -> Floats:
            action = action.copy()
            action[:, place[name]] = action[:, place[name]] * times + add
            return action

        return change

    tenth = float(np.log(1.1))
    by_panel: dict[str, Callable[[], list[Question]]] = {
        "dietox": lambda: [ask("a fifth more feed", 1, shift("feed", 0.0, 1.2))],
        "driving": lambda: [
            ask(
                "a primary seat belt law, instead of none",
                -1,
                put(sbprim=0, sbsecon=0),
                put(sbprim=1, sbsecon=0),
            ),
            ask(
                "a limit of .08 per cent alcohol, instead of .10",
                -1,
                put(bac08=0, bac10=1),
                put(bac08=1, bac10=0),
            ),
        ],
        "Cigar": lambda: [ask("prices a tenth higher", -1, shift("log_price", tenth, 1.0))],
        "Gasoline": lambda: [ask("prices a tenth higher", -1, shift("lrpmg", tenth, 1.0))],
    }
    return by_panel[panel.name]() if panel.name in by_panel else []


def effects_of(question: Question, predict: Callable[[list[Window]], list[Floats]]) -> list[float]:
    """Return the effect on each agent by a model's predictions."""
    before, after = predict(question.base), predict(question.changed)
    return [float(f"{a[-1, 0] - b[-1, 0]:.3g}") for a, b in zip(after, before, strict=True)]


def halved_infusion(panel: Panel, train: pd.DataFrame) -> Question:
    """Return the question of half the infusion rate from a patient's third sample on.

    Up to six samples ahead, as long as the infusion runs; of patients with three or more of them.
    """
    rate = panel.action.index("rate")
    history = fetch(panel.source).sort_values(["ID", "Time"])
    base, changed, expected = [], [], []
    groups: Any = train.groupby(panel.agent, sort=True)
    for agent, rows in groups:
        rates = rows["rate"].to_numpy(float)[INFUSION_START:]
        steps = min(int(np.argmin(np.nan_to_num(rates) > 0)), INFUSION_STEPS)
        if steps < 3:
            continue
        part = rows.iloc[: INFUSION_START + steps + 1]
        window = end_window(agent, part, panel, steps, known=True)
        action = window.action.copy()
        action[:, rate] /= 2
        base.append(window)
        changed.append(replace(window, action=action))
        own = history[history["ID"] == agent]
        own = own.assign(sampled=own["conc"] > 0)
        samples = own.loc[own["sampled"], "Time"].to_numpy(float)
        start, end = samples[INFUSION_START], samples[INFUSION_START + steps]
        person = float(own["Age"].iloc[0]), float(own["LBM"].iloc[0])
        times, doses = own["Time"].to_numpy(float), own["Rate"].to_numpy(float)
        less = np.where(times >= start, doses / 2, doses)
        levels = [concentration(times, given, end, *person) for given in (less, doses)]
        expected.append(float(np.log(levels[0] / levels[1])))
    return Question("the infusion halved", base, changed, -1, np.array(expected))


def concentration(times: Floats, rates: Floats, at: float, age: float, lean: float) -> float:
    """Return the plasma concentration (ng/ml) of remifentanil by Minto's population model.

        dA/dt = K A + rate e_1,  concentration = A_1 / V_1

    Args:
        times: when the rates begin ``(n,)``, minutes, increasing from 0.
        rates: infusion rates ``(n,)``, micrograms a minute.
        at: time of the concentration, minutes.
        age: years.
        lean: lean body mass, kg.
    """
    volumes = np.array(
        [
            5.1 - 0.0201 * (age - 40) + 0.072 * (lean - 55),
            9.82 - 0.0811 * (age - 40) + 0.108 * (lean - 55),
            5.42,
        ]
    )  # litres
    out, fast, slow = (
        2.6 - 0.0162 * (age - 40) + 0.0191 * (lean - 55),
        2.05 - 0.0301 * (age - 40),
        0.076 - 0.00113 * (age - 40),
    )  # litres a minute
    flow = np.array(
        [
            [-(out + fast + slow), fast, slow],
            [fast, -fast, 0.0],
            [slow, 0.0, -slow],
        ]
    )
    matrix = flow / volumes  # of amounts: column j is what leaves compartment j
    values, vectors = np.linalg.eig(matrix)
    back = np.linalg.inv(vectors)
    amount = np.zeros(3)
    for begin, finish, rate in zip(times, [*times[1:], np.inf], rates, strict=True):
        if begin >= at:
            break
        grown = np.exp(values * (min(finish, at) - begin))
        source = back @ np.array([rate, 0.0, 0.0])
        amount = np.real(vectors @ (grown * (back @ amount) + (grown - 1) / values * source))
    return float(amount[0] / volumes[0])
