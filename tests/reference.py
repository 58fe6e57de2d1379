"""The fitted model written out again: NumPy, float64, one question and one step at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.models.fitted_model import FittedModel


def member_paths(
    model: FittedModel, agent: int, state: Any, actions: Any, factors: Any = None
) -> NDArray[np.float64]:
    """``(M, H, D)`` in raw units; ``agent`` is an index, discrete actions are level indices.

    With ``factors``, ``(M, r)``, those of the agent do not count. A state may have the steps
    before it behind it, the latest first: of each the change, and what was done.
    """
    norm = model.normalizer
    n_state = len(norm.state_mean)
    state, known = np.split(np.asarray(state, np.float64), [n_state])
    paths = []
    for m in range(model.n_members):
        u = np.asarray(model.members.agents[m], np.float64)[agent]
        u = u if factors is None else factors[m]
        standard = (np.asarray(state, np.float64) - norm.state_mean) / norm.state_scale
        path, steps = [], [*known.reshape(-1, n_state + len(norm.acted_mean))]
        for action in actions:
            raw = standard * norm.state_scale + norm.state_mean
            y = features(model, m, np.concatenate([raw, *steps]), action) @ u
            y = np.minimum(np.maximum(y, norm.target_low), norm.target_high)
            target = y * norm.target_scale + norm.target_mean
            reached = np.where(norm.keep == 1, raw + target, target)
            standard = (reached - norm.state_mean) / norm.state_scale
            standard = np.minimum(np.maximum(standard, norm.low), norm.high)
            path.append(standard * norm.state_scale + norm.state_mean)
            did = np.zeros(0)
            if len(norm.acted_mean):
                did = np.eye(len(norm.acted_mean))[action] if model.discrete else action
            steps = [np.r_[path[-1] - raw, did], *steps][: norm.history - 1]
        paths.append(path)
    return np.array(paths)


def features(model: FittedModel, m: int, state: Any, action: Any) -> NDArray[np.float64]:
    """Z of one member at one state and action, ``(D, r)``."""
    norm, net = model.normalizer, model.members
    n_state = len(norm.state_mean)

    def array(leaf: Any) -> NDArray[np.float64]:
        return np.asarray(leaf[m], np.float64)

    def hidden(layers: Any, x: Any, shift: Any = 0.0) -> Any:
        for k, layer in enumerate(layers):
            x = x @ array(layer.weight) + array(layer.bias) + (shift if k == 0 else 0.0)
            x = np.maximum(x, 0.0)
        return x

    head: Any = net.action_head
    if model.discrete:
        w = array(head)[action]
    else:
        code = (np.asarray(action) - norm.action_mean) / norm.action_scale
        w = hidden(net.action_layers, code) @ array(head.weight) + array(head.bias)
    x = hidden(net.state_layers, _inputs(norm, state), w if net.joint else 0.0)
    v = (x @ array(net.head.weight) + array(net.head.bias)).reshape(n_state, -1)
    return v if net.joint else v * w


def _inputs(norm: Any, raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns that are no angles, the sines, the cosines, the steps before, all standardised."""
    n_state = len(norm.state_mean)
    plain = [
        (raw[d] - norm.state_mean[d]) / norm.state_scale[d]
        for d in range(n_state)
        if d not in norm.angles
    ]
    waves = [wave(raw[d]) for wave in (np.sin, np.cos) for d in norm.angles]
    width = n_state + len(norm.acted_mean)
    memory = np.zeros((norm.history - 1, width))  # a step that is not known is a usual one
    for k, step in enumerate(raw[n_state:].reshape(-1, width)):
        memory[k, :n_state] = (step[:n_state] - norm.change_mean) / norm.change_scale
        memory[k, n_state:] = (step[n_state:] - norm.acted_mean) / norm.acted_scale
    memory = np.nan_to_num(memory).ravel()
    return np.r_[plain, (np.array(waves) - norm.wave_mean) / norm.wave_scale, memory]


def robust_centre(paths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over members without the largest and the smallest fifth, coordinate by coordinate."""
    n_members = len(paths)
    cut = int(np.ceil(n_members / 5)) if n_members >= 3 else 0
    out = np.empty(paths.shape[1:])
    for place in np.ndindex(*out.shape):
        kept = sorted(paths[(slice(None), *place)])[cut : n_members - cut]
        out[place] = sum(kept) / len(kept)
    return out


def unknown(
    model: FittedModel, agent: int, state: Any, actions: Any, draws: Any
) -> NDArray[np.float64]:
    """``(H, D)``: how far draws of the factors ``(M, K, r)`` take each member from its own path."""
    own = member_paths(model, agent, state, actions)
    total = np.zeros_like(own)
    for k in range(draws.shape[1]):
        total += (member_paths(model, agent, state, actions, draws[:, k]) - own) ** 2
    return np.sqrt(np.median(total / draws.shape[1], axis=0))


def band(
    model: FittedModel, paths: NDArray[np.float64], z: float, unknown: Any = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ``(H, D)`` of one question."""
    middle = robust_centre(paths)
    lower, upper = np.empty_like(middle), np.empty_like(middle)
    norm = model.normalizer
    for h, d in np.ndindex(*middle.shape):
        sd = 1.4826 * np.median(np.abs(paths[:, h, d] - np.median(paths[:, h, d])))
        held_out = 0.0
        if model.band is not None:
            longest = len(model.band)
            held_out = model.band[h, d] if h < longest else model.band[-1, d] * (h + 1) / longest
        more = 0.0 if unknown is None else unknown[h, d]
        half = np.sqrt(held_out**2 + z**2 * (sd**2 + more**2))
        walls = [
            wall[d] * norm.state_scale[d] + norm.state_mean[d] for wall in (norm.low, norm.high)
        ]
        lower[h, d] = max(middle[h, d] - half, walls[0])
        upper[h, d] = min(middle[h, d] + half, walls[1])
    return lower, upper
