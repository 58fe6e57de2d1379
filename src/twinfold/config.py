"""The settings of a fit: typed, frozen, read from TOML or flags, written into every run."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinfold.errors import UsageError

Kind = Literal["no change", "drift", "own drift", "pooled", "levels", "slopes", "average"]
Width = Annotated[int, Field(ge=1, le=4096)]


class FitConfig(BaseModel):
    """How to learn a simulator for every agent. The defaults are meant for data never seen before.

    Attributes:
        features: "separable" ones are products of a function of the state and one of the action
            (the paper's); "joint" ones are functions of both, for dynamics in which what an action
            does depends on the state in many ways, such as contacts; "auto" tries both on
            held-out data.
        rank: number of latent terms of the nets; "auto" tries some on held-out data, 0 is no nets.
        linear: the linear model that there is beside the nets, or without them: "no change",
            "drift", "own drift", "pooled", "levels", "slopes" (:mod:`twinfold.models.linear`), or
            an "average" of those; "none" for nets alone; "auto" compares all of them, without nets,
            with nets alone, on held-out data, and keeps the simplest that is not clearly worse than
            the best.
        effort: how much is tried: "quick" (seconds), "normal" (minutes) or "thorough".
        direct: whether a state column whose next value has little to do with the present one (no
            change is a worse guess than the mean) is predicted itself; else its difference is.
        members: size of the ensemble; members differ by initialisation and by shuffling.
        state_net: hidden widths of the state net.
        action_net: hidden widths of the action net (continuous actions only; discrete ones have
            a free factor vector per level).
        activation: of both nets.
        learning_rate: Adam's peak, reached at once and taken to zero along a cosine.
        weight_decay: of the nets, decoupled from the gradient, per unit of learning rate; keeps
            predictions tame where there is no data.
        batch_size: transitions per step.
        steps: longest training, in steps per member.
        unroll: horizon of a second phase of training, on predictions over that many steps, each
            from the one before; 1 leaves the phase out. For dynamics in which small errors grow
            fast, such as contacts.
        unroll_steps: length of that phase, in steps per member.
        polish: rounds in which the last layer and the agents' factors are solved for in closed form
            after training, in turns. For data almost free of noise whose errors grow fast in a
            rollout. A round costs transitions times (last hidden width x rank)^2.
        schedules: shares of ``steps`` that are tried on held-out data, the shortest first; a longer
            one only where the one before paid.
        shrinkages: penalties on the squared distance of agent factors from their mean (on the
            standardised loss, summed over agents, divided by the number of transitions) that are
            tried, all with the shortest schedule and the better two with longer ones. Noisy or
            scarce data asks for more, clean data for less.
        behaviour_steps: length of training of the policy that the data followed (continuous actions
            only), which planning can keep to; 0 leaves it out.
        structure_share: share of ``steps`` for which each kind of features and rank is tried.
        validation_share: share of the agents whose last transitions are held out while the model is
            chosen, all of them where there are at most 10,000 transitions; 0 trains ``steps`` with
            the first shrinkage on everything, without a held-out error.
        validation_suffix: share of such an agent's transitions that is held out.
        validation_members: members trained for every pair that is tried.
        band: nominal coverage of the prediction band, of whole trajectories.
        seed: of everything that is random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: Literal["auto", "separable", "joint"] = "separable"
    rank: Annotated[int, Field(ge=0, le=512)] | Literal["auto"] = "auto"
    linear: Literal["auto", "none"] | Kind = "auto"
    effort: Literal["quick", "normal", "thorough"] = "normal"
    direct: bool = False
    members: int = Field(default=5, ge=1, le=100)
    state_net: tuple[Width, ...] = Field(default=(128,), min_length=1)
    action_net: tuple[Width, ...] = (64,)
    activation: Literal["relu", "silu", "hard_swish", "tanh"] = "relu"
    learning_rate: float = Field(default=1e-2, gt=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch_size: int = Field(default=128, ge=1)
    steps: int = Field(default=50_000, ge=1)
    unroll: int = Field(default=1, ge=1, le=1000)
    unroll_steps: int = Field(default=2000, ge=1)
    polish: int = Field(default=0, ge=0, le=100)
    schedules: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.05, 0.25, 1.0), min_length=1
    )
    shrinkages: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        default=(0.001, 0.3, 3.0, 30.0), min_length=1
    )
    behaviour_steps: int = Field(default=5000, ge=0)
    structure_share: float = Field(default=0.5, gt=0, le=1)
    validation_share: float = Field(default=0.2, ge=0, le=1)
    validation_suffix: float = Field(default=0.3, gt=0, lt=1)
    validation_members: int = Field(default=1, ge=1, le=100)
    band: float = Field(default=0.9, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> FitConfig:
        """A config from a mapping.

        Raises:
            UsageError: a setting is unknown or out of range; the message names it.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines: dict[Any, str] = {}  # the first problem of each setting
            for item in error.errors():
                name = str(item["loc"][0])
                line = f"setting {name!r} cannot be {values[name]!r}: {item['msg']}"
                if item["type"] == "extra_forbidden":
                    line = f"unknown setting {name!r}; valid: {', '.join(cls.model_fields)}"
                if name == "rank" and values[name] != "auto":
                    line = f"setting 'rank' cannot be {values[name]!r}: give 0 to 512, or 'auto'"
                lines.setdefault(name, line)
            raise UsageError("\n".join(lines.values())) from None

    @classmethod
    def load(cls, path: str | Path, **overrides: Any) -> FitConfig:
        """A config from a TOML file; ``overrides`` win over the file.

        Raises:
            UsageError: the file cannot be read, is no TOML, or holds a setting that does not fit.
        """
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"cannot read the configuration {path}: {error}") from None
        return cls.parse({**values, **overrides})
