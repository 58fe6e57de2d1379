"""Maps of the agents of a task (Figure 1), and how much of what is hidden they show.

Every agent responds to the same probes, states and actions of the training data. Responses do not
depend on the basis of the factors; factors do. Two maps of the responses are drawn, by principal
components and by t-SNE, and the covariates are read from the responses by cross-validated
regression: linear, of any smooth form, and from the place on each map alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold import metrics
from twinfold.benchmark.studies.study_fits import fit_summary
from twinfold.benchmark.studies.study_settings import MapSettings
from twinfold.errors import UsageError

Floats = NDArray[np.float64]
Record = dict[str, Any]

_RIDGES = np.logspace(-6, 3, 19)
_NEIGHBOURS = 10  # of a place on a map, that its covariates are read from


def run_map(model: Any, task: Any, settings: MapSettings) -> Record:
    """Return the maps of a model's agents and the R2 of each covariate.

    Args:
        model: a fitted model of agents with integer ids of the task.
        task: the true task, for the covariates.
        settings: of the study.

    Raises:
        UsageError: scikit-learn is not installed, or the true covariates are not known.
    """
    from twinfold.benchmark.protocol import true_covariates

    scikit_learn()
    ids = [int(name) for name in model.agent_ids]
    covariates = true_covariates(model, task, ids)
    responses = mean_responses(model, settings)
    flat, shares = metrics.principal_components(responses)
    scores = leading_components(responses, settings.components, settings.share)
    near = neighbour_map(responses, settings)
    readings = {
        "linear": linear_r2(scores, covariates, settings),
        "smooth": smooth_r2(scores, covariates, settings),
        "pca_map": place_r2(flat, covariates, settings),
        "tsne_map": place_r2(near, covariates, settings),
    }
    names = task.covariate_names
    drawn = slice(0, settings.drawn)
    return {
        "agent_ids": ids[drawn],
        "covariates": {name: covariates[drawn, c].tolist() for c, name in enumerate(names)},
        "pca": _rounded(flat[drawn]),
        "tsne": _rounded(near[drawn]),
        "explained_by_pca": shares.tolist(),
        "components": scores.shape[1],
        "r2": {
            how: dict(zip(names, map(float, values), strict=True))
            for how, values in readings.items()
        },
        "fit_of": fit_summary(model),
    }


def mean_responses(model: Any, settings: MapSettings) -> Floats:
    """Return what each agent answers to the probes, averaged over members: ``(N, F)``.

    Args:
        model: a fitted model.
        settings: of the study.
    """
    from twinfold.models.rollout import agent_responses

    sample = model.sample
    rng = np.random.default_rng((settings.seed, 67))
    rows = np.sort(rng.permutation(len(sample.state))[: settings.probes])
    state, action = sample.state[rows], sample.action[rows]
    if model.discrete:  # every level at every state
        levels = np.arange(model.n_levels, dtype=np.int32)
        state, action = np.repeat(state, len(levels), axis=0), np.tile(levels, len(state))
    agents = np.arange(len(model.agent_ids))
    return metrics.trimmed_mean(agent_responses(model, agents, state, action))


def leading_components(responses: Floats, most: int, share: float) -> Floats:
    """Return the scores of the leading principal components, standardised: ``(N, K)``.

    Args:
        responses: of the agents, ``(N, F)``.
        most: largest number of components.
        share: of the variance, below which a component is left out.
    """
    left, scale, _ = np.linalg.svd(responses - responses.mean(axis=0), full_matrices=False)
    variance = np.square(scale) / max(float(np.square(scale).sum()), 1e-300)
    kept = max(1, int((variance[:most] > share).sum()))
    return left[:, :kept] * len(responses) ** 0.5


def neighbour_map(responses: Floats, settings: MapSettings) -> Floats:
    """Return the places of agents by t-SNE, ``(N, 2)``.

    Args:
        responses: of the agents, ``(N, F)``; standardised predictions, so distances mean something.
        settings: of the study.
    """
    from sklearn.manifold import TSNE

    perplexity = min(settings.perplexity, (len(responses) - 1) / 3)
    place = TSNE(init="pca", perplexity=perplexity, random_state=settings.seed)
    return np.asarray(place.fit_transform(responses.astype(np.float32)), np.float64)


def linear_r2(scores: Floats, covariates: Floats, settings: MapSettings) -> Floats:
    """Return the cross-validated R2 of each covariate by ridge regression, ``(C,)``.

    Args:
        scores: of the agents, ``(N, K)``.
        covariates: of the agents, ``(N, C)``.
        settings: of the study.
    """
    from sklearn.linear_model import RidgeCV

    return _cross_validated(RidgeCV(alphas=_RIDGES), scores, covariates, settings)


def smooth_r2(scores: Floats, covariates: Floats, settings: MapSettings) -> Floats:
    """Return the same by kernel ridge regression with a Gaussian kernel, chosen inside a fold.

    Args:
        scores: of the agents, ``(N, K)``.
        covariates: of the agents, ``(N, C)``.
        settings: of the study.
    """
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV

    choices = {
        "alpha": [1e-4, 1e-3, 1e-2, 1e-1],
        "gamma": [c / scores.shape[1] for c in (0.01, 0.05, 0.2)],
    }
    search = GridSearchCV(KernelRidge(kernel="rbf"), choices, cv=3)
    return _cross_validated(search, scores, covariates, settings)


def place_r2(places: Floats, covariates: Floats, settings: MapSettings) -> Floats:
    """Return the same from the place on a map alone, by its nearest neighbours.

    Args:
        places: of the agents, ``(N, 2)``.
        covariates: of the agents, ``(N, C)``.
        settings: of the study.
    """
    from sklearn.neighbors import KNeighborsRegressor

    inside = len(places) * (settings.folds - 1) // settings.folds
    reader = KNeighborsRegressor(min(_NEIGHBOURS, inside), weights="distance")
    return _cross_validated(reader, places, covariates, settings)


def _cross_validated(
    reader: Any, inputs: Floats, covariates: Floats, settings: MapSettings
) -> Floats:
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(settings.folds, shuffle=True, random_state=settings.seed)
    centre, scale = covariates.mean(axis=0), covariates.std(axis=0)
    target = (covariates - centre) / np.where(scale > 0, scale, 1.0)
    found = [cross_val_predict(reader, inputs, column, cv=folds) for column in target.T]
    return np.array([r2_score(y, x) for y, x in zip(target.T, found, strict=True)])


def scikit_learn() -> None:
    """Refuse to go on without scikit-learn.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError(
            "maps of agents need scikit-learn; install it with: pip install 'twinfold[studies]'"
        ) from None


def _rounded(places: Floats) -> list[list[float]]:
    return [[float(f"{value:.4g}") for value in row] for row in places]
