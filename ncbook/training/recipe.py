"""A recipe: everything that says how one network is trained, and the start of its training from a seed."""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from inspect import Parameter, signature

from torch import nn

from ncbook.data.datasets import Dataset, load
from ncbook.models.networks import build_model
from ncbook.seeds import child_generator
from ncbook.training.loop import State, measurement_epochs, train


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Data set, network, loss, optimiser, schedule and epochs: what a run needs beside its seed and its device.

    `start` does all of it; `data`, `network` and `train` are its three steps, for an experiment that does something between them.
    """

    dataset: str  # see `ncbook.data.presets.spec`
    model: str  # see `ncbook.models.networks.PRESETS`
    train_size: int | None = None  # images, balanced over classes; None: all
    test_size: int | None = None
    loss: str = "cross_entropy"
    epochs: int
    measurements: int = 20  # roughly log-spaced epochs, see `measurement_epochs`
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float
    batch_size: int
    schedule: str = "constant"
    augment: str | None = None
    precision: str = "float32"

    def start(self, seed: int, device: str) -> tuple[Dataset, nn.Module, Iterator[State]]:
        """Data set, network, and the states at which training stops to be measured; nothing is trained before the first is asked for."""
        data = self.data(seed, device)
        network = self.network(data, seed)
        return data, network, self.train(network, data, seed)

    def data(self, seed: int, device: str, **options) -> Dataset:
        """The data set on `device`, its training subset drawn with `seed`; `options` as in `load`."""
        return load(self.dataset, train_size=self.train_size, test_size=self.test_size, seed=seed, device=device, **options)

    def network(self, data: Dataset, seed: int, build: Callable[..., nn.Module] = build_model) -> nn.Module:
        """The network for images of `data`, where these are, with first weights from the stream ``weights`` of `seed`."""
        generator = child_generator(seed, "weights")
        return build(self.model, data.image_shape, data.num_classes, generator=generator).to(data.train.labels.device)

    def train(self, network: nn.Module, data: Dataset, seed: int, measure_at: list[int] | None = None) -> Iterator[State]:
        """The states of training `network` on `data` (see `ncbook.training.loop.train`): at the recipe's measurements, unless told."""
        return train(
            network,
            data,
            loss=self.loss,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            schedule=self.schedule,
            augment=self.augment,
            precision=self.precision,
            measure_at=measurement_epochs(self.epochs, self.measurements) if measure_at is None else measure_at,
            generator=child_generator(seed, "batches"),
        )


def takes_recipe(experiment: Callable) -> Callable:
    """Let an experiment ``f(recipe, *, …)`` be called with the fields of a `Recipe` in the recipe's place, as a run gives them.

    The parameters of a run are flat: ``f(dataset="digits", model="mlp", …, seed=0)``. The signature of what is returned lists them all.
    """
    own = list(signature(experiment).parameters.values())[1:]
    recipe = [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=Parameter.empty if f.default is MISSING else f.default, annotation=f.type)
        for f in fields(Recipe)
    ]
    names = {parameter.name for parameter in recipe}

    @wraps(experiment)
    def flat(**parameters):
        settings = {name: value for name, value in parameters.items() if name in names}
        return experiment(Recipe(**settings), **{name: value for name, value in parameters.items() if name not in names})

    flat.__signature__ = signature(experiment).replace(parameters=[*recipe, *own])
    return flat
