from .simulator import Rollout as Rollout, Simulator as Simulator
from .what_if import answer as answer
