"""Who computes runs: processes of this machine, or anything that meets `concurrent.futures.Executor`.

`finish` names one of::

    local                processes here (`JOBS` of them), ended when a run is overdue
    parsl:CONFIG         Parsl, for Slurm, Kubernetes and many more: a file with a `config`, or one of `ncbook/runs/clusters`
    dask:ADDRESS         the workers of a Dask scheduler
    MODULE:FACTORY       what this function returns; it may be given as itself

Whoever it is gets `ncbook.runs.worker` to call, the text of a table back, and keeps nothing: this process alone writes the store.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module, util
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from ncbook import paths, settings
from ncbook.errors import InputError
from ncbook.runs.worker import Surroundings, begin, call, calls, elsewhere

Choice = str | Callable[[], Executor]
# the arguments of `call`, here also a list of those that `calls` takes, and a time limit in seconds
Submit = Callable[[tuple | list[tuple], float | None], Future]

LOCAL = "local"
CLUSTERS = Path(__file__).with_name("clusters")


def chosen(executor: Choice | None = None) -> Choice:
    """The executor given, else ``EXECUTOR``, else processes here; an `InputError` where a text names none."""
    executor = executor or settings.current().executor or LOCAL
    if isinstance(executor, str) and executor != LOCAL and not all(executor.partition(":")):
        raise InputError(f"EXECUTOR={executor!r}: use local, parsl:CONFIG, dask:ADDRESS or MODULE:FACTORY.")
    return executor


@contextmanager
def opened(executor: Choice, *, workers: int, instruction_set: str, device: str) -> Iterator[Submit]:
    """A function that sends a run to the executor. It is shut down at the end; after an exception without waiting for what is at work."""
    environment = settings.workers_environment(instruction_set)
    if executor == LOCAL:
        with settings.within(environment), _processes(workers, instruction_set, device) as submit:
            yield submit
        return
    surroundings = Surroundings(environment, settings.places(paths.root()), [str(Path(folder).resolve()) for folder in sys.path])
    with settings.within(environment | settings.path_of_this_python()), _make(executor) as others:
        try:
            yield lambda order, timeout: others.submit(elsewhere, order, surroundings, timeout)
        except BaseException:
            others.shutdown(wait=False)
            raise


@contextmanager
def _processes(workers: int, instruction_set: str, device: str) -> Iterator[Submit]:
    """Processes of this machine; on GPUs each sees one of them."""
    from pebble import ProcessPool

    with TemporaryDirectory(prefix="ncbook-") as places:
        shared = (instruction_set, settings.gpus() if device == "cuda" else None, places)
        with ProcessPool(workers, initializer=begin, initargs=shared, context=get_context("spawn")) as pool:
            try:
                yield (
                    lambda order, timeout: (
                        pool.schedule(calls, args=[order], timeout=timeout)
                        if isinstance(order, list)
                        else pool.schedule(call, args=order, timeout=timeout)
                    )
                )
            except BaseException:
                pool.stop()
                raise


def _make(executor: Choice) -> AbstractContextManager[Executor]:
    if not isinstance(executor, str):
        return executor()
    kind, _, name = executor.partition(":")
    try:
        if kind == "parsl":
            return _parsl(_named(_file(name), "config"))
        if kind == "dask":
            return _dask(name)
        return _named(import_module(kind), name)()
    except ModuleNotFoundError as error:
        how = f"; pip install 'ncbook[{kind}]'" if kind in ("parsl", "dask") else ""
        raise InputError(f"EXECUTOR={executor!r} needs {error.name}, which this environment lacks{how}.") from error


def _named(module, name: str):
    if not hasattr(module, name):
        raise InputError(f"{module.__file__} has no {name!r}.")
    return getattr(module, name)


def _file(name: str):
    """The module in a file, or in that of a cluster by its name."""
    path = Path(name) if name.endswith(".py") else CLUSTERS / f"{name}.py"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in CLUSTERS.glob("[!_]*.py")))
        raise InputError(f"there is no configuration {path}; give a file of yours that ends in .py, or one of {known}.")
    spec = util.spec_from_file_location(path.stem, path)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _parsl(config) -> Iterator[Executor]:
    """Parsl's workers as `config`, or what it returns, describes them."""
    from parsl import DataFlowKernel
    from parsl.concurrent import ParslPoolExecutor

    config = config() if callable(config) else config
    config.run_dir = str(paths.writable(paths.runs() / ".parsl"))
    kernel = DataFlowKernel(config)
    try:
        yield ParslPoolExecutor(dfk=kernel)
    finally:
        kernel.cleanup()  # ends the workers, and what they are at


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    """The workers of a Dask scheduler. A run whose worker dies is told here, which sends it again; Dask itself would kill three more."""
    from distributed import Client

    with Client(address, timeout="60s", set_as_default=False) as client:
        before = client.run_on_scheduler(_allow_failures, 0)
        try:
            yield client.get_executor(pure=False, retries=0)
        finally:
            client.run_on_scheduler(_allow_failures, before)


def _allow_failures(count: int, dask_scheduler=None) -> int:
    before, dask_scheduler.allowed_failures = dask_scheduler.allowed_failures, count
    return before
