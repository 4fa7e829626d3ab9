"""What a GPU does otherwise: float32 that is not, and small decompositions that a CPU finishes first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

SMALL = 1000  # rows of a float64 matrix up to which a CPU decomposes it in less time than a GPU, whose solvers work step by step


@contextmanager
def no_tf32() -> Iterator[None]:
    """Within, a product or a convolution of float32 numbers keeps their 24 bits. cuDNN's convolutions round to 11 unless told."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def decompose(function: Callable, matrix: Tensor, **options):
    """``function(matrix)``, a decomposition of `torch.linalg`: of a small matrix on the CPU, and brought back.

    >>> decompose(torch.linalg.eigvalsh, torch.diag(torch.tensor([4.0, 1.0]))).tolist()
    [1.0, 4.0]
    """
    if matrix.device.type == "cpu" or max(matrix.shape[-2:]) > SMALL:
        return function(matrix, **options)
    found = function(matrix.cpu(), **options)
    return found.to(matrix.device) if isinstance(found, Tensor) else [part.to(matrix.device) for part in found]
