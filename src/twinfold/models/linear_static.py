"""What static columns say of agents' own coefficients in a linear model, found with these together.

With x the standardised static columns of agent n, its own coefficients in ``linear`` are

    b_n ~ N(Gamma^T x_n, sigma^2 T)

so that what a patient's weight does to a dose is learned from all patients at once, also where each
has too few rows to tell its coefficients from its noise. To regress the agents' coefficients on the
columns afterwards (``static_prior``) would find next to nothing there: they are all the mean.

Axes: N agents, C static columns, D state columns, q linear features, o of them with own
coefficients, S own coefficients.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Effects(NamedTuple):
    """What the columns add to coefficients.

    Attributes:
        columns: ``(N, C)``, x; 0 where nothing is known of an agent.
        features: ``(o,)``, the linear features whose coefficients they move.
    """

    columns: Floats
    features: NDArray[np.integer]

    @property
    def size(self) -> int:
        """C o, coefficients of Gamma for a column of the state."""
        return self.columns.shape[1] * len(self.features)

    def some(self, agents: NDArray[np.integer]) -> Effects:
        """Those of some agents."""
        return self._replace(columns=self.columns[agents])

    def sums(self, gram: Floats, moment: Floats) -> tuple[Floats, Floats]:
        """Return the sums over agents for shared coefficients and Gamma at once.

        Args:
            gram: ``(N, q, q)``, of phi phi^T.
            moment: ``(N, q, D)``, of phi y^T.

        Returns:
            ``(q + C o, q + C o)`` and ``(q + C o, D)``.
        """
        x, own = self.columns, self.features
        n_columns, n_own = x.shape[1], len(own)
        mixed = np.einsum("nc,noq->coq", x, gram[:, own]).reshape(self.size, -1)
        inner = np.empty((n_columns, n_own, n_columns, n_own))
        for o, p in itertools.product(range(n_own), repeat=2):  # all at once: N C^2 numbers
            inner[:, o, :, p] = x.T @ (gram[:, own[o], own[p], None] * x)
        inner = inner.reshape(self.size, self.size)
        whole = np.block([[gram.sum(axis=0), mixed.T], [mixed, inner]])
        right = np.einsum("nc,nod->cod", x, moment[:, own]).reshape(self.size, -1)
        return whole, np.concatenate([moment.sum(axis=0), right])
