"""The settings of a fit: typed, frozen, read from TOML or flags, written into every run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinfold.errors import UsageError, one_of
from twinfold.utils.reading import problem_lines, read_toml
from twinfold.utils.seeds import LARGEST_SEED

Kind = Literal[
    "no change",
    "drift",
    "own drift",
    "pooled",
    "levels",
    "additive",
    "slopes",
    "additive slopes",
    "average",
]
Width = Annotated[int, Field(ge=1, le=4096)]
Steps = Annotated[int, Field(le=100_000_000)]


class FitConfig(BaseModel):
    """The settings of a fit. The defaults are meant for data never seen before.

    The text below a setting is its help on the command line, where it has a flag.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    features: Literal["auto", "separable", "joint"] = "separable"
    """Features of the nets: separable (state times action, as in the paper), joint (of both, for
    dynamics in which what an action does depends on the state in many ways, such as contacts), or
    auto: by held-out error."""
    rank: Annotated[int, Field(ge=0, le=512)] | Literal["auto"] = "auto"
    """Latent terms of the nets; auto tries some on held-out data, 0 is no nets."""
    linear: Literal["auto", "none"] | Kind = "auto"
    """The linear model without or beside the nets: none, no change, drift, own drift, pooled,
    levels, slopes, an additive one (straight pieces that are constant beyond the data) without or
    with own slopes, an average of those, or auto: all of them, without nets and with nets alone,
    are compared on held-out data, and the simplest that is not clearly worse than the best is
    kept. Additive ones up to 10,000 transitions at even times, where they are not asked for."""
    history: Annotated[int, Field(ge=1, le=64, strict=True)] | Literal["auto"] = 1
    """Rows that the model reads, the present one and those before: for columns that do not tell
    the whole state, such as a position without its velocity. 1 is no memory; auto tries 2, 4 and 8
    on held-out data."""
    effort: Literal["quick", "normal", "thorough"] = "normal"
    """Effort of the search: quick (seconds), normal (minutes) or thorough (tens of minutes)."""
    direct: bool = False
    """Predict a state column itself, and not its difference, where its next value has little to do
    with the present one (no change is a worse guess than the mean)."""
    members: int = Field(default=5, ge=1, le=100)
    """Size of the ensemble; members differ by initialisation and by shuffling."""
    state_net: tuple[Width, ...] = Field(default=(128,), min_length=1, max_length=16)
    """Hidden widths of the state net, such as 128 or 64,64."""
    action_net: tuple[Width, ...] = Field(default=(64,), max_length=16)
    """Hidden widths of the action net (continuous actions; a discrete one has a free vector per
    level); 0 for a linear one."""
    activation: Literal["relu", "silu", "hard_swish", "tanh"] = "relu"
    """Activation of both nets: relu, silu, hard_swish or tanh."""
    learning_rate: float = Field(default=1e-2, gt=0, le=1)
    """Peak of the learning rate, reached at once; it falls to zero along a cosine."""
    weight_decay: float = Field(default=0.0, ge=0, le=1e6)
    """Decay of the nets' weights, decoupled from the gradient, per unit of learning rate; keeps
    predictions tame where there is no data."""
    batch_size: int = Field(default=128, ge=1, le=100_000)
    """Transitions per training step."""
    steps: Steps = Field(default=50_000, ge=1)
    """Longest training, in steps per member; shorter ones are tried on held-out data too."""
    unroll: int = Field(default=1, ge=1, le=1000)
    """Horizon of a second phase of training, on predictions over that many steps, each from the one
    before; 1 leaves the phase out. For dynamics in which small errors grow fast, such as
    contacts."""
    unroll_steps: Steps = Field(default=2000, ge=1)
    """Length of that phase, in steps per member."""
    polish: int = Field(default=0, ge=0, le=100)
    """Rounds in which the last layer and the agents' factors are solved for in closed form after
    training, in turns. For data almost free of noise whose errors grow fast in a rollout. A round
    costs transitions times (last hidden width x rank)^2."""
    schedules: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.05, 0.25, 1.0), min_length=1, max_length=100
    )
    """Shares of the steps that are tried on held-out data, the shortest first; a longer one only
    where the one before paid."""
    shrinkages: tuple[Annotated[float, Field(ge=0, le=1e6)], ...] = Field(
        default=(0.001, 0.3, 3.0, 30.0), min_length=1, max_length=100
    )
    """Strengths of the pull of agents to each other that are tried on held-out data: penalties on
    the squared distance of agents' factors from their mean. Noisy or scarce data asks for more."""
    behaviour_steps: Steps = Field(default=5000, ge=0)
    """Length of training of the policy that the data followed (continuous actions only), which
    planning can keep to; 0 leaves it out."""
    structure_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the steps for which each kind of features and rank is tried."""
    validation_share: float = Field(default=0.2, ge=0, le=1)
    """Share of the agents of which the last part is held out while the model is chosen (all of them
    where there are at most 10,000 transitions); 0 for none: all steps are trained with the first
    shrinkage, and there is no held-out error."""
    validation_suffix: float = Field(default=0.3, gt=0, lt=1)
    """Share of such an agent's transitions that is held out."""
    validation_members: int = Field(default=1, ge=1, le=100)
    """Members trained for every pair of schedule and shrinkage that is tried."""
    band: float = Field(default=0.9, gt=0, lt=1)
    """Nominal coverage of the prediction band, of whole trajectories."""
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Seed of everything that is random."""

    @classmethod
    def parse(cls, values: dict[str, Any]) -> FitConfig:
        """A config from a mapping.

        Raises:
            UsageError: a setting is unknown or out of range; the message names it.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first: dict[Any, Any] = {}  # the problem of each setting
            for item in error.errors():
                name = str(item["loc"][0])
                counts = {"rank": "give 0 to 512, or 'auto'", "history": "give 1 to 64, or 'auto'"}
                message = counts.get(name, item["msg"])
                found = {**item, "loc": (name,), "input": values[name], "msg": message}
                first.setdefault(name, found)
            lines = problem_lines([*first.values()], lambda _: one_of(cls.model_fields))
            raise UsageError("\n".join(lines)) from None

    @classmethod
    def load(cls, path: str | Path, **overrides: Any) -> FitConfig:
        """A config from a TOML file; ``overrides`` win over the file.

        Raises:
            UsageError: the file cannot be read, is no TOML, or holds a setting that does not fit.
        """
        return cls.parse({**read_toml(path, UsageError), **overrides})
