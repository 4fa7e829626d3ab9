"""The machine's settings: what a run on a CPU rounds with."""

import subprocess
import sys

import pytest

from ncbook import settings
from ncbook.errors import InputError

# a product long enough that the width of the registers shows in its last digits
DIGITS = """
from ncbook.runs.worker import prepare_worker
torch = prepare_worker()
x = torch.randn(257, 1031, generator=torch.Generator().manual_seed(0))
print(torch.backends.cpu.get_cpu_capability(), (x @ x.T).double().sum().item(), x.exp().sum(1).double().sum().item())
"""


def test_the_set_is_the_same_wherever_it_is_there(monkeypatch):
    monkeypatch.delenv("INSTRUCTION_SET", raising=False)
    for known, chosen in (
        (["generic", "avx2", "avx512"], "avx2"),
        (["generic", "avx2"], "avx2"),
        (["generic"], "generic"),
        (["native"], "native"),
    ):
        monkeypatch.setattr(settings, "instruction_sets", lambda known=known: known)
        assert settings.instruction_set() == chosen


def test_too_few_open_files_are_raised_or_named(monkeypatch):
    import resource

    limits = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, values: limits.append(values))
    for soft, hard, raised in ((1024, 4096, []), (64, 4096, [(256, 4096)]), (64, resource.RLIM_INFINITY, [(256, resource.RLIM_INFINITY)])):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, found=(soft, hard): found)
        limits.clear()
        settings.check_open_files()
        assert limits == raised
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 64))
    with pytest.raises(InputError, match="this shell allows 64 open files, and a build needs 256"):
        settings.check_open_files()


def test_what_the_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(settings, "instruction_sets", lambda: ["generic", "avx2"])
    with pytest.raises(InputError, match="'avx512': this machine offers generic, avx2"):
        settings.instruction_set("avx512")
    monkeypatch.setenv("INSTRUCTION_SET", "generic")
    assert settings.instruction_set() == "generic"


def test_a_gpu_that_this_pytorch_cannot_use_is_said_once(monkeypatch, tmp_path, capsys):
    import torch

    monkeypatch.setattr(settings, "GPUS", (str(tmp_path),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings._say_that_a_gpu_is_idle.cache_clear()
    assert settings.device("cpu") == "cpu" and not capsys.readouterr().err
    assert settings.device("auto") == settings.device("auto") == "cpu"
    said = capsys.readouterr().err
    assert said.count("This machine has a GPU") == 1 and "make TORCH=cuda" in said and "ROCm" in said
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert settings.device("auto") == "cuda"


def test_one_run_at_a_time_for_each_gpu(monkeypatch):
    monkeypatch.delenv("JOBS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937, 3")
    assert settings.gpus() == ["GPU-8932f937", "3"] and settings.jobs(on="cuda") == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert settings.gpus() == [] and settings.jobs(on="cuda") == 1


def test_a_worker_has_one_thread_and_one_set():
    environment = settings.workers_environment("avx2")
    assert environment["OMP_NUM_THREADS"] == "1" and environment["ATEN_CPU_CAPABILITY"] == "avx2"
    assert set(settings.workers_environment("native")) == {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}


@pytest.mark.slow
@pytest.mark.skipif("avx2" not in settings.instruction_sets(), reason="this processor has no AVX2")
def test_the_set_decides_what_torch_computes_with(monkeypatch):
    said = {}
    for name in settings.instruction_sets():
        monkeypatch.setenv("INSTRUCTION_SET", name)
        done = subprocess.run([sys.executable, "-c", DIGITS], capture_output=True, text=True, check=True)
        said[name], *numbers = done.stdout.split()
        assert all(abs(float(number)) > 0 for number in numbers)
    expected = {"generic": "DEFAULT", "avx2": "AVX2", "avx512": "AVX512"}
    assert said == {name: expected[name] for name in said}
