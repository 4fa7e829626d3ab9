"""Several runs of one experiment whose networks train as one.

An experiment is a plain function that loops over `train`. `in_lock_step` starts several, each in a thread of its own, of which one runs at
a time: until it asks for the next epochs, or ends. When all have asked, those whose networks agree (`ncbook.models.stacked`) are trained as
a stack until a member has come to an epoch at which it is measured. That one gets its weights back, and its turn, before the stack goes on.

Each member keeps what a lone run has: its images, in the order that its own generator draws, its learning rate, schedule and weight decay,
its terminal phase, its end, its checkpoints. One whose loss is no longer finite fails alone. What cannot be stacked, a residual network for
one, trains by itself in its turn.

An experiment that is marked `in_stacks` always trains so, be it alone: its tables have the same digits whichever runs go with it. They
differ by rounding from what `train` itself gives, whose sums are in another order.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import asdict
from functools import partial, wraps
from inspect import signature
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from ncbook.data.datasets import Split
from ncbook.metrics.devices import no_tf32
from ncbook.models.stacked import NetworkStack, architecture, chosen
from ncbook.training.checkpoint import Checkpoint
from ncbook.training.evaluate import SUSPECTS, Interpolation, error
from ncbook.training.loop import LOSSES, SCHEDULES, State, instead, measurement_epochs, train
from ncbook.training.parallel import ranks

alone: Callable[..., Iterator[State]] = train.__wrapped__  # type: ignore[attr-defined]

# as `LOSSES`, of each image
LOSS_OF_EACH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda z, y: nn.functional.cross_entropy(z.T[None], y[None], reduction="none")[0],  # fast with the classes first
    "squared": lambda z, y: (z - nn.functional.one_hot(y, z.shape[1])).square().mean(1),
}


def in_stacks(size: int) -> Callable[[Callable], Callable]:
    """Mark an experiment whose small networks train as stacks on a CPU, those of up to `size` of its runs together."""

    def mark(experiment: Callable) -> Callable:
        @wraps(experiment)
        def run(**parameters):
            # on a GPU nobody has tried stacks, and processes of torchrun share each batch of one network
            if instead.get() or parameters.get("device", "cpu") != "cpu" or ranks() > 1:
                return experiment(**parameters)
            return in_lock_step([partial(experiment, **parameters)])[0]

        run.stack = size  # type: ignore[attr-defined]
        return run

    return mark


def in_lock_step(calls: list[Callable]) -> list[Any]:
    """What the functions return, in their order. All run to their end, then the first exception is raised, if there is one."""
    members = [_Member(call) for call in calls]
    for member in members:
        member.turn()
    stacks: list[_Stack] = []
    while waiting := [member.training for member in members if member.training]:
        stacks = [stack for stack in stacks if stack.drop_left()]
        if stacks:
            for training in stacks[0].advance():
                training.member.turn()
            continue
        alike = defaultdict(list)
        for training in waiting:
            alike[training.kind, training.epoch].append(training)
        stacks = [_Stack(trainings) for trainings in alike.values()]
    if errors := [member.error for member in members if member.error]:
        raise errors[0]
    return [member.returned for member in members]


class _Member:
    """A function in a thread, which runs during its turns only."""

    def __init__(self, call: Callable):
        self.call = call
        self.returned: Any = None
        self.error: BaseException | None = None
        self.training: _Training | None = None  # what it waits for
        self.is_training = False
        self.goes, self.stops = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=copy_context().run, args=(self._run,), daemon=True).start()

    def turn(self) -> None:
        """Let it run until it waits for training, or has ended."""
        self.goes.release()
        self.stops.acquire()

    def wait(self, training: "_Training") -> None:
        """Let the others run, and the stack train."""
        self.training = training
        self.stops.release()
        self.goes.acquire()
        self.training = None

    def _run(self) -> None:
        self.goes.acquire()
        instead.set(self.train)
        try:
            self.returned = self.call()
        except BaseException as error:  # noqa: BLE001 - of whatever kind, it is the caller's
            self.error = error
        self.stops.release()

    def train(self, model: nn.Module, dataset, **settings) -> Iterator[State]:
        """What `ncbook.training.loop.train` does, its epochs by a stack. A training within another is left alone."""
        given = signature(alone).bind(model, dataset, **settings)
        given.apply_defaults()
        training = None if self.is_training else _Training.of(self, **given.arguments)
        return self._states(training) if training else alone(model, dataset, **settings)

    def _states(self, training: "_Training") -> Iterator[State]:
        self.is_training = True
        try:
            yield from training.before()
            while training.epoch < training.end:
                self.wait(training)
                yield training.state()
        finally:
            training.left, self.is_training = True, False


class _Training:
    """What `train` was asked for, and how far it is."""

    def __init__(self, member: _Member, kind: tuple, model: nn.Module, split: Split, settings: dict):
        self.member, self.kind, self.model, self.split, self.settings = member, kind, model, split, settings
        self.interpolates = Interpolation(self.split)
        self.stops: set[int] = set(settings["measure_at"])
        self.epoch, self.loss = 0, float("nan")
        self.terminal: int | None = None
        self.velocity: dict[str, Tensor] = {}  # of SGD, where it is not with the stack
        self.checkpoint = Checkpoint(model, self, settings["generator"])
        self.failure: Exception | None = None  # of its stack
        self.left = False
        self.suspects: tuple[Tensor | None, Tensor, Tensor] | None = None  # their positions, images and labels

    @classmethod
    def of(cls, member: _Member, model: nn.Module, dataset, **settings) -> "_Training | None":
        """None for what is no part of any stack."""
        known = settings["loss"] in LOSSES and settings["schedule"] in SCHEDULES and settings["precision"] == "float32"
        shape = architecture(model)
        if not known or shape is None or not isinstance(split := dataset.train, Split):
            return None
        if settings["measure_at"] is None:
            settings["measure_at"] = measurement_epochs(settings["epochs"])
        same = tuple(settings[name] for name in ("loss", "batch_size", "augment"))
        return cls(member, (shape, tuple(split.images.shape), split.images.dtype, same), model, split, settings)

    def state_dict(self) -> dict[str, Tensor]:
        """For its checkpoint, in an optimiser's place."""
        return self.velocity

    def load_state_dict(self, velocity: dict[str, Tensor]) -> None:
        """Take up what a checkpoint has."""
        self.velocity = velocity

    @property
    def end(self) -> int:
        """The last epoch, as far as it is known now."""
        epochs, after = self.settings["epochs"], self.settings["terminal_epochs"]
        return epochs if self.terminal is None or after is None else min(epochs, self.terminal + after)

    @property
    def is_measured(self) -> bool:
        """Whether it stops at this epoch whatever it has learned."""
        return self.epoch in self.stops or self.epoch == self.end

    @property
    def sgd(self) -> tuple:
        """What decides a step beside the gradient."""
        return tuple(self.settings[name] for name in ("learning_rate", "schedule", "epochs", "momentum", "weight_decay"))

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass, as a lone run has it."""
        return self.split.batches(self.settings["batch_size"], generator=self.settings["generator"], augment=self.settings["augment"])

    def looked_at(self) -> tuple[Tensor, Tensor] | None:
        """Images and labels that were wrong when last asked, `SUSPECTS` of them, some twice if need be; None where none are known."""
        if (found := self.interpolates.suspects) is None:
            return None
        if self.suspects is None or self.suspects[0] is not found:
            here = found[torch.arange(SUSPECTS, device=found.device) % len(found)]
            self.suspects = found, self.split.normalise(self.split.images[here]), self.split.labels[here]
        return self.suspects[1:]

    def before(self) -> Iterator[State]:
        """The states before its stack goes on: at the start, or those of its checkpoints."""
        self.model.eval()
        for found in self.checkpoint.states():
            yield State(**found)
        if reached := self.checkpoint.resume():
            self.epoch, self.loss, self.terminal = reached["epoch"], reached["loss"], reached["terminal_epoch"]
        elif 0 in self.stops:
            state = State(0, float("nan"), error(self.model, self.split), None)
            self.checkpoint.save(asdict(state), measured=True)
            yield state

    def state(self) -> State:
        """Where it stands when its stack has come to an epoch at which it stops."""
        if self.failure:
            raise self.failure
        if not isfinite(self.loss):
            rate = self.settings["learning_rate"]
            raise FloatingPointError(f"the loss is {self.loss} in epoch {self.epoch}; a smaller learning rate than {rate:g} may help.")
        train_error = error(self.model, self.split) if self.is_measured else 0.0
        if self.terminal is None and train_error == 0:
            self.terminal = self.epoch
        state = State(self.epoch, self.loss, train_error, self.terminal)
        self.checkpoint.save(asdict(state), measured=True)
        return state


class _Stack:
    """Trainings whose networks agree, all at the same epoch."""

    def __init__(self, trainings: list[_Training]):
        self.trainings = trainings
        self.networks = NetworkStack([training.model for training in trainings])
        self.velocity = {name: torch.zeros_like(p) for name, p in self.networks.parameters.items()}
        for k, training in enumerate(trainings):
            for name, v in training.velocity.items():
                self.velocity[name][k] = v
        self.trained = self._trained()
        self.stopped: list[_Training] = []

    def drop_left(self) -> bool:
        """Leave out those that have ended; whether there are others."""
        stay = [k for k, training in enumerate(self.trainings) if not training.left]
        if 0 < len(stay) < len(self.trainings):
            self.networks.keep(stay)
            self.velocity = {name: chosen(v, stay) for name, v in self.velocity.items()}
        self.trainings = [self.trainings[k] for k in stay]
        return bool(stay)

    def advance(self) -> list[_Training]:
        """Train on until some stop, and give each of these its weights."""
        try:
            # an experiment may change a network when it measures it
            for training in self.stopped:
                if not training.left:
                    self.networks.put(self.trainings.index(training), training.model)
            self.trained, self.stopped = self._trained(), []
            while not self.stopped:
                for training, loss in zip(self.trainings, self._epoch(), strict=True):
                    training.loss = loss
                self.stopped = self._stopping()
        except Exception as error:  # noqa: BLE001 - it is each member's, in its own thread
            self.stopped = self.trainings
            for training in self.trainings:
                training.failure = error
        return self.stopped

    def _epoch(self) -> list[float]:
        """One epoch; the mean loss of each."""
        for training in self.trainings:
            training.epoch += 1
        of_each = LOSS_OF_EACH[self.trainings[0].settings["loss"]]
        total, batches = 0.0, 0
        for parts in zip(*[training.batches() for training in self.trainings], strict=True):
            x, y = (torch.stack(part) for part in zip(*parts, strict=True))  # (K, B, channels, H, W), (K, B)
            losses, gradients = self.networks.differentiate(x, y, of_each)
            self._step(gradients)
            total, batches = total + losses, batches + 1
        return (total / batches).tolist()

    def _trained(self) -> dict[tuple, list[tuple[str, int]]]:
        """For each way to take a step the parameters that are trained so, of which network each; others are frozen."""
        trained = defaultdict(list)
        for name in self.networks.parameters:
            for k, training in enumerate(self.trainings):
                if training.model.get_parameter(name).requires_grad:
                    trained[training.sgd].append((name, k))
        return trained

    @torch.no_grad()
    def _step(self, gradients: dict[str, Tensor]) -> None:
        # of each network apart: what is left of a tensor where vector registers end is rounded otherwise
        stacked = [{name: of_all.unbind() for name, of_all in of.items()} for of in (self.networks.parameters, gradients, self.velocity)]
        for (rate, schedule, epochs, momentum, decay), places in self.trained.items():
            weights, slopes, velocity = ([of[name][k] for name, k in places] for of in stacked)
            rate *= SCHEDULES[schedule]((self.trainings[0].epoch - 1) / epochs)
            options = {"weight_decay": decay, "dampening": 0.0, "nesterov": False, "maximize": False}
            sgd(weights, slopes, velocity, fused=True, lr=rate, momentum=momentum, **options)

    def _stopping(self) -> list[_Training]:
        """Those that are measured now, whose loss is no number, or whose terminal phase begins, with the weights that they have."""
        stopping, asked = [], []
        for k, training in enumerate(self.trainings):
            if training.is_measured or not isfinite(training.loss):
                stopping.append(k)
            elif training.terminal is None:
                asked.append(k)
        for k in self._without_suspects(asked):
            self.networks.take(k, self.trainings[k].model)
            if self.trainings[k].interpolates(self.trainings[k].model):
                stopping.append(k)
        for k, training in enumerate(self.trainings):
            if k not in stopping and not training.checkpoint.is_due:
                continue
            self.networks.take(k, training.model)
            if training.checkpoint.folder:
                training.velocity = {name: v[k].clone() for name, v in self.velocity.items()}
            if k not in stopping:
                state = State(training.epoch, training.loss, float("nan"), training.terminal)
                training.checkpoint.save(asdict(state), measured=False)
        return [self.trainings[k] for k in sorted(stopping)]

    @torch.no_grad()
    @no_tf32()
    def _without_suspects(self, asked: list[int]) -> list[int]:
        """Those of the asked that classify right what was wrong before, in one pass for all: most are not among them."""
        seen = {k: looked_at for k in asked if (looked_at := self.trainings[k].looked_at())}
        if not seen:
            return asked
        whatever = next(iter(seen.values()))  # for those that are not asked
        x, y = (torch.stack(part) for part in zip(*[seen.get(k, whatever) for k in range(len(self.trainings))], strict=True))
        wrong = (self.networks.scores(x).argmax(2) != y).any(1).tolist()
        return [k for k in asked if k not in seen or not wrong[k]]
