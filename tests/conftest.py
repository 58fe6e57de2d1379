"""What every test shares: commands keep compiled programs, and workers share the cores."""

from __future__ import annotations

import builtins
import ctypes
import functools
import gc
import hashlib
import importlib.util
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twinfold.models.fitted_model import FittedModel

ROOT = Path(__file__).resolve().parent.parent
_MAPS = 8_000  # memory maps of a process, above which it lets go of what it has compiled
_MEMORY = 1_600 * 2**20  # bytes of it, above which it does so after any test
_GROWTH = 300 * 2**20  # bytes more than after the last time, below which it would gain little

# Before JAX or NumPy load. Commands that a test starts as a process inherit all of it.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")

import jaxtyping  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402
from beartype import beartype  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# Types are checked at every call, in tests only; compiled code pays nothing. Shapes are checked
# where a function names some: to look for them in all takes a quarter of the time of a fit.
CHECKED = (
    "models",
    "adaptation",
    "uncertainty",
    "training",
    "planning",
    "policy_learning",
    "baselines",
)
_SHAPES = re.compile(r"\b(Float|Int|Bool|Key)\[")
_NAMES = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


def _checked(thing: Any, *, typechecker: Any) -> Any:
    """Return a class or a function that checks its shapes; a function without them, its types.

    Only jaxtyping copes with names that the module has for type checkers alone.
    """
    hints = " ".join(str(hint) for hint in getattr(thing, "__annotations__", {}).values())
    if isinstance(thing, type) or _SHAPES.search(hints):
        return _shapes_too(thing, typechecker=typechecker)
    known = thing.__globals__.keys() | vars(builtins).keys()
    if not {*_NAMES.findall(hints)} <= known:
        return _shapes_too(thing, typechecker=typechecker)
    return beartype(thing)


def checked(*, typechecker: Any) -> Callable[[Any], Any]:
    """Return what the import hook decorates with."""
    return functools.partial(_checked, typechecker=typechecker)


_shapes_too = jaxtyping.jaxtyped
jaxtyping.jaxtyped = checked  # type: ignore[assignment]
install_import_hook([f"twinfold.{name}" for name in CHECKED], "beartype.beartype")

from twinfold.utils.programs import drop_programs  # noqa: E402

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Share the cores among the workers, which are about to start with this environment.

    A worker's own conftest would be too late: a plugin of pytest has loaded NumPy before it, whose
    threads then wait for each other in busy loops, on cores that the other worker needs.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # Tests compile a thousand programs and run each for a moment: optimising them costs more than
    # it gains. The older of the compiler's two ways to make code of fused loops takes a third of
    # the time of the newer one, and a program is not worth being split among threads.
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0 "
        "--xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false "
        "--xla_cpu_parallel_codegen_split_count=1",
    )


def pytest_collection_finish() -> None:
    """Look for garbage seldom, and not among what stays: tracing makes millions of objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


@pytest.fixture(scope="module", autouse=True)
def little_memory() -> Iterator[None]:
    """Let go of compiled programs after a file of tests if they are many, and of free memory.

    The compiler leaves a heap of free pieces, which the C library returns only when told to.
    """
    yield
    drop_programs(_MAPS)
    _trim()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Let go of compiled programs in the midst of a file of tests where they take much memory."""
    if _memory() > max(_MEMORY, _kept.get("memory", 0) + _GROWTH):
        drop_programs(0)
        _trim()
        _kept["memory"] = _memory()


_kept: dict[str, int] = {}


def _memory() -> int:
    """Return the bytes that this process holds; none where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU library
    if trim is not None:
        trim(0)


def load(name: str) -> Any:
    """Load a module beside this one; pytest's importlib mode puts no test directory on the path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference() -> Any:
    """The module ``reference.py``."""
    return load("reference")


@pytest.fixture(scope="session")
def models() -> Any:
    """The module ``random_models.py``."""
    return load("random_models")


@pytest.fixture(scope="session")
def killing() -> Any:
    """The module ``killing.py``."""
    return load("killing")


@pytest.fixture(scope="session")
def pumps() -> Any:
    """The module ``pumps.py``."""
    return load("pumps")


@pytest.fixture(scope="session")
def courses(models: Any) -> Any:
    """How to make data for a random model."""
    return SimpleNamespace(
        factors=models.own_factors,
        table=models.course_table,
        panel=models.panel_of,
        transitions=models.transitions_of,
    )


@pytest.fixture(scope="session")
def random_model(models: Any) -> Callable[..., FittedModel]:
    """Build models with random nets; those with a posterior, which takes a while, are kept."""
    kept: dict[str, FittedModel] = {}

    def build(**options: Any) -> FittedModel:
        if not options.get("posterior"):
            return models.build_model(**options)
        key = repr(sorted(options.items()))
        if key not in kept:
            kept[key] = models.build_model(**options)
        return kept[key]

    return build


@pytest.fixture(scope="session")
def seal() -> Callable[..., None]:
    """Make the checksums of a run fit again, as if it had been written that way."""
    from twinfold.training.run_format import digest

    def run(folder: Path, record: dict[str, Any] | None = None) -> None:
        path = folder / "run.json"
        found: Any = json.loads(path.read_text("utf-8")) if record is None else record
        for name, file in found["files"].items():
            content = (folder / name).read_bytes()
            file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        path.write_text(json.dumps({**found, "sha256": digest(found)}), "utf-8")

    return run


@pytest.fixture(scope="session")
def small_cart_pole() -> FittedModel:
    """60 agents with integer ids, a discrete action, integer times; short training."""
    from twinfold.benchmark.collect import collect
    from twinfold.config import FitConfig
    from twinfold.tasks.registry import get_task
    from twinfold.training.fit import fit

    config = FitConfig(
        effort="quick",
        linear="none",
        steps=2000,
        members=3,
        validation_members=1,
        schedules=(1.0,),
        shrinkages=(3.0,),
    )
    return fit(collect(get_task("cart_pole"), "random", 60, 0), config, reserve=0)


def tank_table(n_agents: int = 8, n_rows: int = 25) -> pd.DataFrame:
    """Heated tanks: a level that never falls below 0 and a temperature, hourly, in local time."""
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2026-03-28 12:00", tz="Europe/Berlin")  # the clock changes on the way
    tables = []
    for n in range(n_agents):
        draw, loss = 0.6 + 0.8 * rng.random(), 0.1 + 0.2 * rng.random()
        level, temperature = np.empty(n_rows), np.empty(n_rows)
        level[0], temperature[0] = 2 * rng.random(), 20 + 5 * rng.random()
        inflow, heat = rng.uniform(0, 1.2, n_rows), rng.uniform(-2, 4, n_rows)
        for t in range(n_rows - 1):
            level[t + 1] = max(0.0, level[t] + inflow[t] - draw)
            temperature[t + 1] = temperature[t] + heat[t] - loss * (temperature[t] - 20)
        inflow[-1] = heat[-1] = np.nan
        tables.append(
            pd.DataFrame(
                {
                    "tank no.": f"T-{n:03d}/é",
                    "when": pd.date_range(start, periods=n_rows, freq="h", unit="ms"),
                    "level": level,
                    "Temp (°C)": temperature,
                    "in flow": inflow,
                    "heat;kW": heat,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="session")
def small_continuous() -> FittedModel:
    """8 agents with text ids, odd column names, two continuous actions, dates with a zone."""
    from twinfold.config import FitConfig
    from twinfold.data.panel import PanelDataset
    from twinfold.training.fit import fit

    roles = {
        "agent": "tank no.",
        "time": "when",
        "state": ["level", "Temp (°C)"],
        "action": ["in flow", "heat;kW"],
        "action_type": "continuous",
    }
    config = FitConfig(
        effort="quick",
        linear="none",
        rank=3,
        steps=500,
        members=2,
        validation_members=1,
        schedules=(1.0,),
        shrinkages=(0.3,),
        state_net=(32,),
        behaviour_steps=500,
    )
    return fit(PanelDataset.from_frame(tank_table(), roles), config)
