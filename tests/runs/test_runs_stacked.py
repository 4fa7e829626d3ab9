"""Runs that go to one process together: the store holds each as if it had gone alone."""

from dataclasses import replace

import pytest
from toy_experiments import trained, wave

from ncbook.runs import SweepError, finish, plan
from ncbook.runs import pool as pools
from ncbook.runs.plan import read
from ncbook.runs.pool import LONG, _stacks

GRID = [{"seed": seed, "weight_decay": decay} for seed in range(3) for decay in (1e-2, 1e-3)]


@pytest.fixture
def groups(monkeypatch):
    """How many runs each process got at once, in order."""
    sent = []
    stacks = pools._stacks
    monkeypatch.setattr(pools, "_stacks", lambda *given: [sent.append(len(group)) or group for group in stacks(*given)])
    return sent


def test_each_run_is_kept_for_itself_with_the_digits_that_it_has_alone(home, monkeypatch, groups):
    planned = plan(trained, GRID)
    assert finish(planned, jobs=1) == 6
    together = read(planned)
    assert groups == [3, 3]
    monkeypatch.setenv("NCBOOK_ROOT", str(home / "second"))
    (home / "second").mkdir()
    for run in planned:
        assert finish([run], jobs=1) == 1
    assert groups[2:] == [1] * 6
    assert read(planned).equals(together)


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_one_that_fails_or_kills_the_process_of_all_loses_itself_only(home, groups, how):
    planned = plan(trained, [{"seed": seed, "weight_decay": 1e-2, "how": how} for seed in range(4)])
    with pytest.raises(SweepError) as caught:
        finish(planned, jobs=1)
    assert groups == [2, 2]
    assert [run.parameters["seed"] for run, _, _ in caught.value.failures] == [2]
    assert [run.stored() is not None for run in planned] == [True, True, False, True]


def test_runs_go_together_that_differ_in_seed_decay_or_rate_and_are_short(home):
    planned = plan(trained, GRID) + plan(wave, [{"name": name, "seed": seed} for name in "ab" for seed in range(3)])

    def sizes(runs, lost=(), workers=1):
        return sorted(len(group) for group in _stacks(runs, set(lost), workers))

    assert sizes(planned) == [1] * 6 + [3, 3]  # up to four of one experiment, even; each of the other alone
    assert sizes(planned, [planned[0].key]) == [1] * 7 + [2, 3]
    assert sizes(planned, workers=3) == [1] * 6 + [2, 2, 2]  # so that no process waits long for another
    assert sizes([replace(run, seconds=LONG / 2) for run in planned[:6]]) == [2, 2, 2]  # none of them keeps checkpoints
    assert sizes([replace(run, seconds=LONG + 1) for run in planned[:6]]) == [1] * 6
    assert sizes([replace(run, device="cuda") for run in planned[:6]]) == [1] * 6


def test_another_executor_gets_each_run_alone(home, groups):
    planned = plan(trained, GRID)
    assert finish(planned, executor="concurrent.futures:ThreadPoolExecutor") == 6 and groups == []
    elsewhere = read(planned)
    assert len(elsewhere) == 6 * 4 and elsewhere["bias"].notna().all()
