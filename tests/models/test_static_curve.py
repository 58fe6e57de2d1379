"""Where factors depend on static columns in curves: against plain computations, and calibrated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.polynomial import legendre
from safetensors.numpy import load_file, save_file

from twinfold.errors import RunError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.static_curve import fit_curve, n_terms, polynomial_terms
from twinfold.models.static_prior import STATIC, StaticPrior, fit_static
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run

Build = Callable[..., FittedModel]


def curved(seed: int, n_agents: int = 120, noise: float = 0.02) -> Any:
    """Prior means, factors that are curves of two static columns, a metric, and the columns."""
    rng = np.random.default_rng(seed)
    values = rng.uniform([0.15, 2.0], [0.85, 18.0], size=(n_agents, 2))
    length, force = values.T
    shapes = np.stack([1 / length, force / length, force], axis=1)
    shapes = (shapes - shapes.mean(axis=0)) / shapes.std(axis=0)
    factors = np.stack([shapes @ rng.normal(size=(3, 3)) for _ in range(2)])
    factors += noise * rng.normal(size=factors.shape)
    root = rng.normal(size=(2, 3, 3))
    return factors.mean(axis=1), factors, root @ np.swapaxes(root, 1, 2), values


def fitted(*given: Any) -> StaticPrior:
    found = fit_static(*given)
    assert found is not None
    return found


def test_terms_are_the_products_of_polynomials() -> None:
    rng = np.random.default_rng(0)
    position = rng.uniform(-1, 1, size=(5, 3))
    found = polynomial_terms(position, 3)
    wanted = []
    for total in (1, 2, 3):
        for a in range(total, -1, -1):
            for b in range(total - a, -1, -1):
                powers = (a, b, total - a - b)
                each = [
                    legendre.legval(position[:, c], np.eye(4)[power])
                    for c, power in enumerate(powers)
                ]
                wanted.append(np.prod(each, axis=0))
    np.testing.assert_allclose(found, np.stack(wanted, axis=1))
    assert found.shape[1] == n_terms(3, 3) == 19


def test_agents_left_out_are_those_of_fitting_without_them() -> None:
    _, factors, metric, values = curved(1, n_agents=30, noise=0.3)
    position = (values - values.min(axis=0)) / np.ptp(values, axis=0) * 2 - 1
    own = factors - factors.mean(axis=1)[:, None] + 0.7
    found = fit_curve(own, metric, position, (2,), 4)
    assert found is not None
    curve, residual = found
    terms = polynomial_terms(position, 2) - curve.centre
    # The strength that was chosen, from the spread that it leaves.
    penalty = np.linalg.inv(curve.spread) - terms.T @ terms
    np.testing.assert_allclose(penalty, penalty[0, 0] * np.eye(5), atol=1e-6)
    for n in range(30):
        kept = np.arange(30) != n
        design = np.column_stack([terms[kept], np.ones(29)])
        strength = np.diag([*np.diag(penalty), 0.0])
        for m in range(2):
            solved = np.linalg.solve(design.T @ design + strength, design.T @ own[m, kept])
            np.testing.assert_allclose(
                residual[m, n], own[m, n] - np.r_[terms[n], 1.0] @ solved, atol=1e-9
            )


@pytest.mark.parametrize("seed", range(3))
def test_curves_are_found_and_their_prior_says_how_far_off_they_are(seed: int) -> None:
    mean, factors, metric, values = curved(seed, n_agents=400)
    found = fitted(mean, factors[:, :200], metric, values[:200])
    assert found.curve is not None
    line = found._replace(curve=None)
    wide = np.stack([np.eye(3)] * 2)
    new, true = values[200:], factors[:, 200:] - mean[:, None]
    off = {}
    for name, prior in (("curve", found), ("line", line)):
        own = prior.own(wide, new)
        error = true - own.shift
        off[name] = np.square(error).mean()
        if name == "curve":
            # Squared errors in units of the prior are chi-squared: their mean is the rank.
            unit = np.einsum("mnr,mnrs,mns->mn", error, own.precision, error)
            assert 2.0 < unit.mean() < 4.2
    assert off["curve"] < off["line"] / 10
    assert float(found.explained) > 0.98


def test_a_line_stays_a_line_and_noise_is_left_aside() -> None:
    curves = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(80, 2))
        factors = np.stack([values @ rng.normal(size=(2, 3)) for _ in range(2)])
        factors += 0.3 * rng.normal(size=factors.shape)
        metric = np.stack([np.eye(3)] * 2)
        curves += fitted(factors.mean(axis=1), factors, metric, values).curve is not None
        noise = rng.normal(size=factors.shape)
        told = fit_static(noise.mean(axis=1), noise, metric, values)
        curves += told is not None and told.curve is not None
    assert curves <= 3  # two standard errors, the best of some degrees


def test_what_a_line_cannot_say_at_all_is_learned() -> None:
    rng = np.random.default_rng(5)
    values = rng.uniform(-1, 1, size=(100, 1))
    factors = np.stack([np.square(values) @ np.ones((1, 2))] * 2)
    factors += 0.01 * rng.normal(size=factors.shape)
    metric = np.stack([np.eye(2)] * 2)
    found = fitted(factors.mean(axis=1), factors, metric, values)
    assert found.curve is not None
    np.testing.assert_allclose(found.weights, 0.0, atol=1e-6)
    own = found.own(np.stack([np.eye(2)] * 2), np.array([[0.0], [0.9], [np.nan]]))
    middle = factors.mean()
    np.testing.assert_allclose(own.shift[:, 0], -middle, atol=0.02)
    np.testing.assert_allclose(own.shift[:, 1], 0.81 - middle, atol=0.02)
    np.testing.assert_allclose(own.shift[:, 2], 0.0)
    np.testing.assert_allclose(own.precision[:, 2], np.eye(2)[None].repeat(2, axis=0))


def test_agents_beyond_the_others_and_without_a_column_are_less_sure() -> None:
    mean, factors, metric, values = curved(2)
    found = fitted(mean, factors, metric, values)
    assert found.curve is not None
    inside, edge = np.array([[0.5, 10.0]]), np.array([[0.85, 18.0]])
    wide = np.stack([np.eye(3)] * 2)
    sure = [
        np.trace(np.linalg.inv(found.own(wide, x).precision), axis1=-2, axis2=-1).mean()
        for x in (inside, edge, np.array([[0.5, np.nan]]))
    ]
    assert sure[0] < sure[1] < sure[2]
    # Far beyond the range it stays as it is, and little is said.
    far, further = (found.own(wide, np.array([x])) for x in ([9.0, 90.0], [5.0, 400.0]))
    np.testing.assert_allclose(far.shift, further.shift)
    assert (np.linalg.inv(further.precision).trace(axis1=-2, axis2=-1) > 100).all()
    np.testing.assert_allclose(further.precision, np.swapaxes(further.precision, -1, -2))


def test_few_agents_have_no_curve() -> None:
    mean, factors, metric, values = curved(3, n_agents=19)
    assert n_terms(2, STATIC.degrees[0]) * STATIC.agents_per_term == 20
    assert fitted(mean, factors, metric, values).curve is None
    mean, factors, metric, values = curved(3, n_agents=40)
    values[:25, 0] = np.nan  # of 15 agents both columns are known
    assert fitted(mean, factors, metric, values).curve is None


def test_a_run_keeps_its_curve(random_model: Build, tmp_path: Path, seal: Any) -> None:
    plain = random_model(posterior=True)
    assert plain.posterior is not None
    _, factors, metric, values = curved(4, n_agents=60)
    factors, metric = np.concatenate([factors, factors[:1]]), np.concatenate([metric, metric[:1]])
    static = fitted(factors.mean(axis=1), factors, metric, values)
    assert static.curve is not None
    own = values[: len(plain.agent_ids)]
    model = replace(
        plain,
        roles=plain.roles.model_copy(update={"static": ("length", "force")}),
        posterior=plain.posterior._replace(static=static, values=own),
    )
    folder = tmp_path / "run"
    save_run(model, folder)
    again = load_run(folder).posterior
    assert again is not None
    assert again.static is not None
    kept = again.static.curve
    assert kept is not None
    for name, value in static.curve._asdict().items():
        np.testing.assert_array_equal(getattr(kept, name), value)
    wanted, found = (p.own(again.prior.precision, own) for p in (static, again.static))
    np.testing.assert_array_equal(found.shift, wanted.shift)

    arrays = load_file(folder / "model.safetensors")
    for name, value, message in (
        ("degree", np.array(5.0), "static.curve.degree must be one of"),
        ("degree", np.array(2.0), "static.curve.centre"),
        ("weights", np.zeros((3, 2, 3)), "static.curve.weights"),
        ("spread", -kept.spread, "static.curve.spread"),
    ):
        save_file({**arrays, f"static.curve.{name}": value}, folder / "model.safetensors")
        seal(folder)
        with pytest.raises(RunError, match=message):
            load_run(folder)
