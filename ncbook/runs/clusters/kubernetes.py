"""Kubernetes: up to eight pods with a GPU each. ``EXECUTOR=parsl:/path/to/your/copy.py``, since the image is yours.

The image holds Python, this version of ncbook with its extra ``parsl``, and the data sets, below NCBOOK_DATA as set in it. Pods share no
file system with this machine, so a run that is lost begins again.
"""


def config():
    from parsl import Config
    from parsl.addresses import address_by_route
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import KubernetesProvider

    return Config(
        executors=[
            HighThroughputExecutor(
                label="kubernetes",
                max_workers_per_node=1,
                address=address_by_route(),  # of this machine, as pods see it
                provider=KubernetesProvider(
                    image="ncbook:latest",
                    namespace="default",
                    max_cpu=4,
                    max_mem="16Gi",
                    extra_limits={"nvidia.com/gpu": "1"},
                    init_blocks=0,
                    max_blocks=8,
                ),
            )
        ],
        strategy="htex_auto_scale",
    )
