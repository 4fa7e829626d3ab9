"""One machine with several GPUs: a worker each. ``EXECUTOR=parsl:workstation``."""


def config():
    from parsl import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider
    from torch import cuda

    return Config(
        executors=[
            HighThroughputExecutor(
                label="gpus",
                available_accelerators=cuda.device_count(),  # CUDA_VISIBLE_DEVICES of each worker is one of them
                max_workers_per_node=max(1, cuda.device_count()),
                address="127.0.0.1",
                provider=LocalProvider(init_blocks=1, max_blocks=1),
            )
        ]
    )
