"""Kernels that start at once: each is a fork of one process, the server, which has imported what every notebook imports.

To import PyTorch, pandas and the drawing libraries takes each kernel seconds. Where libraries of the system do not survive a fork, as on
macOS, kernels start as Jupyter starts them.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Lock

import psutil
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from ncbook import paths

IMPORTED = ("ipykernel.kernelapp", "matplotlib_inline.backend_inline", "ncbook.publish.session", "seaborn", "torch")


@contextmanager
def server() -> Iterator["Server | None"]:
    """The process that forks kernels, until the end of the block or of this process; None where none can."""
    if sys.platform != "linux":
        yield None
        return
    # from the root, as kernels are, so that both import the package that stands there
    command, folder = [sys.executable, "-c", "from ncbook.publish.kernels import serve; serve()"], paths.root()
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


def manager(server: "Server | None", **how) -> AsyncKernelManager:
    """A manager, for papermill, of a Python kernel that is not started yet."""
    kernel = AsyncKernelManager(kernel_name="python3", **how)
    if server:
        kernel.provisioner = _Forked(server, parent=kernel, kernel_id=kernel.kernel_id, kernel_spec=kernel.kernel_spec)
    return kernel


class Server:
    """What this process knows of the server."""

    def __init__(self, process: subprocess.Popen):
        assert process.stdin
        assert process.stdout
        self.orders, self.answers, self.lock = process.stdin, process.stdout, Lock()

    def fork(self, connection: str, environment: dict[str, str], folder: str) -> int:
        """Ask for a kernel; its process id. A `RuntimeError` where the server was killed."""
        with self.lock:
            with suppress(BrokenPipeError):
                print(json.dumps([connection, environment, folder]), file=self.orders, flush=True)
            answer = self.answers.readline()
        if not answer:
            raise RuntimeError("the process that starts kernels has ended")
        return int(answer)


class _Forked(LocalProvisioner):
    def __init__(self, server: Server, **traits):
        super().__init__(**traits)
        self.server = server

    async def launch_kernel(self, cmd: list[str], **kwargs) -> KernelConnectionInfo:
        """Fork a kernel, which leads a process group of its own."""
        folder = kwargs.get("cwd") or os.getcwd()
        pid = self.server.fork(cmd[cmd.index("-f") + 1], kwargs["env"], folder)
        self.process = _Process(pid)  # type: ignore[assignment]  # Jupyter declares these as None
        self.pid = self.pgid = pid  # type: ignore[assignment]
        self.cwd = folder  # type: ignore[assignment]
        return self.connection_info


class _Process(psutil.Process):
    """A process that is no child of this one, as Jupyter asks `subprocess` for it. What it ended with, nobody is told."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        with suppress(psutil.NoSuchProcess):
            if self.is_running() and self.status() != psutil.STATUS_ZOMBIE:  # one is left where nobody takes over orphans
                return None
        return 1

    def wait(self, timeout: float | None = None) -> int | None:
        return self.poll()  # Jupyter asks when it has ended

    def send_signal(self, sig: int) -> None:
        with suppress(psutil.NoSuchProcess):
            super().send_signal(sig)


def serve() -> None:
    """What the server does: it forks a kernel for each line that it is sent, until no more can come."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it as well; whoever asks for kernels ends it
    for module in IMPORTED:
        import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that nothing of a kernel is left when it ends
    here = os.getpid()
    while line := sys.stdin.readline():
        if not (pid := os.fork()):
            return _be_kernel(here, *json.loads(line))
        print(pid, flush=True)


def _be_kernel(parent: int, connection: str, environment: dict[str, str], folder: str) -> None:
    """Become a kernel, in an environment and a folder of its own; it ends when its parent does."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # the server's own is where it answers
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance(["-f", connection, f"--IPKernelApp.parent_handle={parent}"])
