"""What every test shares: compiled programs are kept between runs, and workers share the cores."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Before JAX or NumPy load. Commands that a test starts as a process inherit all of it.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

from hypothesis import HealthCheck, settings  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# Shapes are checked at every call while JAX traces, in tests only; compiled code pays nothing.
install_import_hook(["twinfold.models", "twinfold.planning"], "beartype.beartype")

# The first example of a property often compiles: time limits would only measure that. The same
# examples in every run, so that a failure is the change's and not the draw's.
settings.register_profile(
    "twinfold",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
# A longer search with new examples: HYPOTHESIS_PROFILE=search make test
settings.register_profile(
    "search", parent=settings.get_profile("twinfold"), derandomize=False, max_examples=500
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "twinfold"))
