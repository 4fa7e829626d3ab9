"""Two processes of one group, as `torch.distributed` has them."""

import torch.multiprocessing as processes


def by_two_processes(work, folder, *more) -> dict:
    """What ``work(rank, path, results, *more)`` leaves in `results` in two new processes."""
    with processes.Manager() as manager:
        results = manager.dict()
        processes.spawn(work, args=(folder / "store", results, *more), nprocs=2)
        return dict(results)
