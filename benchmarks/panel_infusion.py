"""A two-compartment population model of an infusion: the control that knows the pharmacology.

    dA/dt = K(theta_n) A + rate e_1,    log concentration = log(A_1 / V_1) + e
    theta_n = log(V_1, clearance, V_2, flow) ~ N(mu, Omega),    e ~ N(0, sigma^2)

mu, Omega and sigma by rounds of the most likely theta of each patient and of the moments that
follow (conditional estimation, the Laplace approximation of the EM algorithm). A new patient is
the most likely theta given the first samples. Fitted to training patients only.

Axes: n patients, T rows of one, S samples among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDS = 8
BEGIN = np.log([5.0, 2.5, 10.0, 1.5])  # litres and litres a minute, of an adult
BEGIN_VARIANCE = 0.1
BEGIN_NOISE = 0.2
LEAST = 1e-4  # ng/ml, below every sample


@dataclass(frozen=True, eq=False)
class Patient:
    """The infusion of a patient and the samples taken.

    Attributes:
        times: ``(T,)`` minutes, ascending, when the rates begin.
        rates: ``(T,)`` micrograms a minute.
        sampled: ``(S,)`` minutes, some of ``times``.
        logs: ``(S,)`` log concentrations, ng/ml.
    """

    times: Floats
    rates: Floats
    sampled: Floats
    logs: Floats

    @classmethod
    def of(cls, rows: Any) -> Patient:
        """Return a patient by the rows of the table, ``conc`` being a logarithm."""
        times = rows["Time"].to_numpy(float)
        known = rows["conc"].notna().to_numpy()
        logs = rows["conc"].to_numpy(float)[known]
        return cls(times, rows["Rate"].to_numpy(float), times[known], logs)

    def until(self, time: float) -> Patient:
        """Return the same with the samples up to a time."""
        early = self.sampled <= time
        return Patient(self.times, self.rates, self.sampled[early], self.logs[early])


@dataclass(frozen=True, eq=False)
class Population:
    """What patients have in common: mean ``(4,)`` and covariance of theta, and the noise."""

    mean: Floats
    covariance: Floats
    noise: float

    def person(self, patient: Patient) -> tuple[Floats, Floats, Floats]:
        """Return the most likely theta, its covariance, and the residuals ``(S,)``."""
        from scipy.optimize import least_squares

        whiten = np.linalg.inv(np.linalg.cholesky(self.covariance))

        def misfit(theta: Floats) -> Floats:
            error = log_levels(theta, patient, patient.sampled) - patient.logs
            return np.concatenate([error / self.noise, whiten @ (theta - self.mean)])

        found: Any = least_squares(misfit, self.mean)
        residual = found.fun[: len(patient.logs)] * self.noise
        return found.x, np.linalg.inv(found.jac.T @ found.jac), residual

    def predict(self, patient: Patient, at: Floats) -> Floats:
        """Return the log concentrations of a patient at some of the times of the infusion."""
        return log_levels(self.person(patient)[0], patient, at)


def fit_population(patients: list[Patient]) -> Population:
    """Return the population that patients are drawn from."""
    found = Population(BEGIN, BEGIN_VARIANCE * np.eye(len(BEGIN)), BEGIN_NOISE)
    for _ in range(ROUNDS):
        thetas, covariances, residuals = zip(*map(found.person, patients), strict=True)
        spread = np.cov(np.transpose(thetas)) + np.mean(covariances, axis=0)
        noise = float(np.sqrt(np.mean(np.square(np.concatenate(residuals)))))
        found = Population(np.mean(thetas, axis=0), spread, noise)
    return found


def log_levels(theta: Floats, patient: Patient, at: Floats) -> Floats:
    """Return the log concentrations at some of the times of the infusion."""
    volume, out, second, flow = np.exp(theta)
    matrix = np.array(
        [[-(out + flow) / volume, flow / second], [flow / volume, -flow / second]]
    )  # of amounts: column j is what leaves compartment j
    values, vectors = np.linalg.eig(matrix)
    back = np.linalg.inv(vectors)
    steady = back[:, 0] / values
    modes, levels = np.zeros(2), np.zeros(len(patient.times))
    for k, length in enumerate(np.diff(patient.times)):
        grown = np.exp(values * length)
        modes = grown * modes + (grown - 1) * steady * patient.rates[k]
        levels[k + 1] = np.real(vectors[0] @ modes) / volume
    place = np.searchsorted(patient.times, at)
    return np.log(np.maximum(levels[place], LEAST))
