"""Workers of a machine with GPUs, without one."""

from dataclasses import replace

from toy_experiments import pinned

from ncbook import settings
from ncbook.runs import executors, plan
from ncbook.runs.pool import _order
from ncbook.runs.worker import POISONED, _own, reason


def test_each_process_takes_a_gpu_that_no_other_has(tmp_path, monkeypatch):
    from ncbook.runs import worker

    held: list = []
    monkeypatch.setattr(worker, "_place", held)
    assert [_own(["a", "b"], tmp_path) for _ in range(3)] == ["a", "b", "a"]  # three processes share two
    held.pop(1).release()  # one is killed
    assert _own(["a", "b"], tmp_path) == "b"


def test_a_process_sees_its_gpu_and_ends_when_that_is_gone(home, monkeypatch):
    """A run "on CUDA" of this PyTorch for CPUs: whatever it asks of the GPU fails, as after an error that stays."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    gone, *others = plan(pinned, [{"seed": seed} for seed in range(3)], device="cpu")
    gone = replace(gone, device="cuda")
    with executors.opened("local", workers=1, instruction_set=settings.instruction_set(), device="cuda") as submit:
        first, failed, last = (submit(_order(run), None) for run in (others[0], gone, others[1]))
        tables = [future.result()[0].splitlines()[1].split(",") for future in (first, last)]
        error = failed.exception()
    assert [gpu for gpu, _ in tables] == ["7", "7"] and tables[0][1] != tables[1][1]  # another process
    assert error.exitcode == POISONED and reason(error, None)[0].startswith("its GPU no longer answers, so its process was ended")
