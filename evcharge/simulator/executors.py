"""Where replications are run: in this process, in several of this machine, or on a cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import attrs

EXTRA = "pip install 'evcharge[cluster]'"
TLS_SETTINGS = "see docs/simulator/cluster.md"
GOES_ON = "the same command goes on where this ended"


class NoCluster(Exception):
    """A cluster cannot be used; says why."""


@attrs.frozen
class Workers:
    """What runs replications, and how many of them at once."""

    executor: Executor
    at_once: int
    are_here: bool = True
    """Whether they have this machine's files."""


@contextmanager
def here(workers: int) -> Iterator[Workers]:
    """
    Run them on this machine.

    :param workers: how many processes; one is this one.
    """
    if workers < 2:
        yield Workers(_InThisProcess(), 1)
        return
    # A fork would have this process's reactor and threads in a state that nobody knows.
    spawn = multiprocessing.get_context("spawn")
    with _Processes(workers, mp_context=spawn, initializer=_end_with_parent) as executor:
        try:
            yield Workers(executor, workers)
        except KeyboardInterrupt:
            # Else the end of what is under way would be waited for.
            for process in multiprocessing.active_children():
                process.kill()
            raise


@contextmanager
def cluster(address: str) -> Iterator[Workers]:
    """
    Run them on the workers of a Dask scheduler, each of which needs the same evcharge.

    :param address: the scheduler's, such as `tcp://host:8786`.
    :raise NoCluster: Dask is not installed, nobody answers there, there is no worker, or the
        scheduler is lost meanwhile, or each worker that runs the same replication.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise NoCluster(f"a cluster needs Dask: {EXTRA}") from None
    # Of a scheduler that is lost it writes tracebacks, beside the message of ours.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=10)
    except TypeError:
        # Of `tls://` without certificates.
        raise NoCluster(f"{address} needs Dask's certificates: {TLS_SETTINGS}") from None
    except (OSError, ValueError) as error:
        raise NoCluster(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise NoCluster(f"the scheduler at {address} has no workers: start `dask worker`")
        try:
            yield Workers(client.get_executor(pure=False), threads, are_here=False)
        except CancelledError:
            raise NoCluster(f"the scheduler at {address} was lost; {GOES_ON}") from None
        except KilledWorker as error:
            raise NoCluster(
                f"{1 + error.allowed_failures} workers were lost with the same replication, for "
                f"want of memory perhaps; {GOES_ON}"
            ) from None


class _InThisProcess(Executor):
    """Does at once what it is told, without a process that would have to be started first."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _Processes(ProcessPoolExecutor):
    """Processes that begin with Ctrl-C blocked: a terminal tells it to all of them."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # They begin here, when there is something to do, and go by what is blocked here.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(call, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    # A worker waits for work from a pipe that it holds open itself: it would never end if its
    # parent was killed.
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
