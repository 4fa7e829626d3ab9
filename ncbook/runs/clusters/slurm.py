"""Slurm: up to four jobs of one node with four GPUs, asked for when there are runs. ``EXECUTOR=parsl:slurm``, or a copy of this file.

The checkout and its environment lie on a file system that the nodes share, and so do the checkpoints: what a lost job had begun goes on in
the next.
"""

import sys
from pathlib import Path


def config():
    from parsl import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.launchers import SrunLauncher
    from parsl.providers import SlurmProvider

    return Config(
        executors=[
            HighThroughputExecutor(
                label="slurm",
                available_accelerators=4,  # a worker a GPU; without GPUs leave it out, and give max_workers_per_node the cores of a node
                provider=SlurmProvider(
                    partition="gpu",
                    account=None,
                    gpus_per_node=4,
                    cores_per_node=32,
                    walltime="04:00:00",  # longer than the longest run; `ncbook train --dry-run` estimates
                    init_blocks=0,
                    max_blocks=4,
                    worker_init=f"export PATH={Path(sys.executable).parent}:$PATH",
                    launcher=SrunLauncher(),
                ),
            )
        ],
        strategy="htex_auto_scale",  # as many jobs as there is work for
    )
