"""Runs that go to one process together: the store holds each as if it had gone alone."""

from dataclasses import replace

import numpy as np
import pytest
from toy_experiments import trained, wave

from ncbook.errors import InputError
from ncbook.publish import records, verify
from ncbook.runs import SweepError, finish, plan
from ncbook.runs.plan import finished
from ncbook.runs.pool import LONG, _stacks

GRID = [{"seed": seed, "weight_decay": decay} for seed in range(3) for decay in (1e-2, 1e-3)]


def test_each_run_is_kept_for_itself_with_the_numbers_that_it_has_alone(home, monkeypatch):
    planned = plan(trained, GRID)
    assert finish(planned, jobs=1, stack=4) == 6
    stacked = finished(planned)
    assert {run["stacked"] for run in stacked.runs} == {"3 networks"}  # six in two stacks
    assert all(run.is_stored() for run in planned)
    monkeypatch.setenv("NCBOOK_ROOT", str(home / "second"))
    (home / "second").mkdir()
    finish(planned, jobs=1)
    alone = finished(planned)
    assert not any(run.get("stacked") for run in alone.runs)
    assert stacked.rows.drop(columns="bias").equals(alone.rows.drop(columns="bias"))
    np.testing.assert_allclose(stacked.rows["bias"], alone.rows["bias"], rtol=1e-4, atol=1e-9)
    # what was stacked is not asked for the last digit
    assert verify._one_stack(alone, alone) and not verify._one_stack(stacked, alone)
    assert "in stacks" in records._machine(stacked.runs[0]) and "in stacks" not in records._machine(alone.runs[0] | {"stacked": None})


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_one_that_fails_or_kills_the_process_of_all_loses_itself_only(home, how):
    planned = plan(trained, [{"seed": seed, "weight_decay": 1e-2, "how": how} for seed in range(4)])
    with pytest.raises(SweepError) as caught:
        finish(planned, jobs=1, stack=4)
    assert [run.parameters["seed"] for run, _, _ in caught.value.failures] == [2]
    assert [run.is_stored() for run in planned] == [True, True, False, True]


def test_runs_go_together_that_differ_in_seed_decay_or_rate_and_are_short(home):
    planned = plan(trained, GRID) + plan(wave, [{"name": name, "seed": seed} for name in "ab" for seed in range(3)])

    def sizes(runs, most, lost=()):
        return sorted(len(group) for group in _stacks(runs, most, set(lost)))

    assert sizes(planned, 10) == [3, 3, 6] and sizes(planned, 1) == [1] * 12
    assert sizes(planned, 4) == [3, 3, 3, 3]  # even
    assert sizes(planned, 10, [planned[0].key]) == [1, 3, 3, 5]
    assert sizes([replace(run, seconds=LONG / 2) for run in planned[:6]], 10) == [2, 2, 2]  # none of them keeps checkpoints
    assert sizes([replace(run, seconds=LONG + 1) for run in planned[:6]], 10) == [1] * 6


def test_another_executor_gets_no_stacks(home):
    with pytest.raises(InputError, match="leave out --stack, or EXECUTOR"):
        finish(plan(trained, GRID), executor="concurrent.futures:ThreadPoolExecutor", stack=2)
