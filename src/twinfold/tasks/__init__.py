"""Simulated tasks: spaces, true dynamics, reward, termination and the agents' hidden physics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
