"""`measure`: the table of all metrics for a network and its data, in memory or, where the features do not fit, in two passes."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from ncbook.errors import InputError, unknown
from ncbook.metrics.collapse import vci_of, within_scatter
from ncbook.metrics.common import CommonSize, check_common_n
from ncbook.metrics.head import Head, decides_at, find_head, is_linear, is_plain, linear_like, module_head, quantised_layers, two_class
from ncbook.metrics.inputs import check_labels
from ncbook.metrics.moments import check_weighting
from ncbook.metrics.passes import add_batch, second_pass
from ncbook.metrics.processes import Processes
from ncbook.metrics.second import Second
from ncbook.metrics.table import CLASS_METRICS, METRICS, Split, as_table, class_rows, full, split_row
from ncbook.metrics.taps import Pooling, batch_parts, check_pooling, layer_names, loader, module_name, plain, run, scores_of, tapped
from ncbook.metrics.weak import weak_kmeans

MEMORY = 5e8  # bytes of features of one split that are held before it is read twice instead


def measure(
    model: nn.Module,
    train: Iterable,
    test: Iterable | None = None,
    *,
    layer: str | nn.Module | list | None = None,
    head: str | nn.Module | tuple | Callable | None = None,
    batch: Callable | None = None,
    scores: Callable | None = None,
    pooling: Pooling = "auto",
    device: torch.device | str | None = None,
    weighting: str = "class",
    common_n: int | None = None,
    vci: bool = False,
    kmeans: bool = False,
    by_class: bool = False,
    strict: bool = False,
    memory: float = MEMORY,
    distributed: bool = False,
    progress: bool = False,
) -> pd.DataFrame:
    """The `collapse_table` of your own network: columns ``layer``, ``split``, ``n`` and `METRICS`, one row a layer and split.

    ``train`` and ``test`` are loaders, data sets, or any iterables, of ``(x, y)`` batches with labels 0..C-1 in ``y``; without shuffling if
    you compare runs bit for bit. Batches may be dicts with their labels under a usual name; ``batch`` is a function of a batch that gives
    ``(inputs, labels)`` for all others, and ``scores`` one of the network's output that gives the scores (N, C), where that is not a
    tensor, a dict or object with ``logits``, or a tuple with one matrix. One logit, or its sigmoid, counts as the two (-z/2, z/2). The
    model is measured in eval mode and without gradients; its modes and device are put back afterwards.

    By default the features are the *input* of the linear layer (or 1 x 1 convolution) whose output is the network's output, if need be
    after a softmax or sigmoid; its weight and bias give the classifier's metrics. ``head`` says which module, by name or itself, where that
    is not so.

    ``layer`` names one or several modules whose *output* is measured instead (at its last call in a forward): NC2 of the classifier and NC3
    are then NaN unless ``head`` is given, as a module or ``(weight, bias)``, while NC4 and the error compare with the network's own output.

    ``pooling``: "auto" averages maps (B, channels, ...) over their positions and flattens others, "flatten" flattens all, "mean" averages
    positions and tokens, "cls" takes the first token, a function ``(activation, inputs) -> (B, d)`` does anything else, such as a mean
    under a mask.

    Up to ``memory`` bytes of features a split are held; beyond, the data are read a second time, and memory is that of a batch and of the
    class means. All columns but ``weak_kmeans`` (``kmeans=True``, slow) can be had so. With ``distributed`` each process measures its own
    shard and all get the table of the whole. ``by_class`` gives the columns of `class_table`. Other options as in `collapse_table`.

    Raises `InputError` for unknown layers, a network whose head is not clear, and what `collapse_table` refuses.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    >>> x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]]), torch.tensor([0, 0, 1, 1])
    >>> batches = [(x[:2], y[:2]), (x[2:], y[2:])]
    >>> measure(model, batches)[["layer", "split", "n", "variance_ratio"]].values.tolist()
    [['1', 'train', 4, 0.0625]]
    """
    check_weighting(weighting), check_pooling(pooling)
    if kmeans and distributed:
        raise InputError("k-means needs all features in one process; leave out kmeans=True, or distributed=True")
    processes = Processes(distributed)
    with processes.all_or_none():
        network = _Network(plain(model), layer, head, batch, scores, pooling, device)
    processes.check_same(test is None, "a test set")
    common_n = None if common_n is None else check_common_n(common_n)
    options = _Options(weighting, common_n, vci, kmeans, strict, 0 if distributed else memory, progress)
    rows, references = [], None
    with network.measuring(processes):
        for name, data in {"train": train, "test": test}.items():
            if name == "test" and data is None:
                continue
            found = _measure_split(network, name, data, references, options, processes)
            references = references or {at: split for at, (split, *_) in found.items()}
            for at, (split, second, extras) in found.items():
                with processes.all_or_none():
                    weight = network.weight(at, split)
                if by_class:
                    rows += [{"layer": at} | row for row in class_rows(split, second, weighting=weighting)]
                else:
                    rows.append({"layer": at} | split_row(split, second, references[at], weight=weight, weighting=weighting) | extras)
    table = as_table(rows, ["layer", "split", *(["class", "n", *CLASS_METRICS] if by_class else ["n", *METRICS])])
    place = {at: i for i, at in enumerate(dict.fromkeys(table["layer"]))}
    return table.sort_values("layer", key=lambda column: column.map(place), kind="stable", ignore_index=True)


@dataclass(frozen=True)
class _Options:
    weighting: str
    common_n: int | None
    vci: bool
    kmeans: bool
    strict: bool
    memory: float
    progress: bool


@dataclass
class _Held:
    """The features of one split by layer, while they fit."""

    features: dict[str, list[Tensor]] = field(default_factory=dict)
    labels: list[Tensor] = field(default_factory=list)
    predicted: list[Tensor] = field(default_factory=list)
    bytes: int = 0

    def add(self, features: dict[str, Tensor], labels: Tensor, predicted: Tensor) -> None:
        for at, values in features.items():
            self.features.setdefault(at, []).append(values)
            self.bytes += values.nbytes
        self.labels.append(labels)
        self.predicted.append(predicted)

    def add_to(self, moments: dict, num_classes: int) -> None:
        """The first pass over what is held."""
        for i, part in enumerate(self.labels):
            add_batch(moments, {at: parts[i] for at, parts in self.features.items()}, part, num_classes)


def _measure_split(network: "_Network", name: str, data: Iterable, references, options: _Options, processes: Processes) -> dict:
    """By layer: the split after its first pass, the second pass, and the columns that need more than these."""
    with processes.all_or_none():
        data = loader(data, name)
    try:
        with processes.all_or_none():
            moments, held = _first_pass(network, data, options)
        moments = processes.merge(moments)
        if not moments:
            raise InputError("the loader has no batches; a generator can be read only once")
        network.found = processes.first(network.found)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    splits = {
        at: Split.of(
            name, found, weighting=options.weighting, strict=options.strict, reference=references is None, where=f"{name}, layer {at}"
        )
        for at, found in moments.items()
    }
    references = references or splits
    for at, split in splits.items():
        width, before = split.moments.mean.shape[1], references[at].moments.mean.shape[1]
        if width != before:
            raise InputError(f"layer {at} has {before} dimensions on train and {width} on {name}")
    more = {at: _Extras(split, options) for at, split in splits.items()}
    if held is not None:
        labels, predicted = torch.cat(held.labels), torch.cat(held.predicted)
        seconds = {}
        for at, split in splits.items():
            features = torch.cat(held.features.pop(at))
            seconds[at] = Second.of(features, labels, predicted, split.moments, split.span, references[at].span)
            more[at].update(at, features, labels)
            if options.kmeans:
                more[at].columns["weak_kmeans"] = weak_kmeans(
                    features, seconds[at].near, references[at].moments, groups=seconds[at].nearest
                )
    else:
        read = partial(network.read, data, f"{name}, second pass" if options.progress else None)
        each = lambda at, features, labels: more[at].update(at, features, labels)
        try:
            with processes.all_or_none():
                seconds = second_pass(read, splits, references, predictions=True, each=each)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        seconds = processes.merge(seconds)
        for at, second in seconds.items():
            second.check(splits[at].moments, where=f"{name}, layer {at}: ")
    found = {}
    for at in splits:
        try:
            found[at] = (splits[at], seconds[at], more[at].result(processes))
        except InputError as error:
            raise InputError(f"{name}, layer {at}: {error}") from None
    return found


def _first_pass(network: "_Network", data: Iterable, options: _Options) -> tuple[dict, _Held | None]:
    """The moments by layer, and all features if they fit."""
    held, moments = (_Held() if options.memory > 0 else None), {}
    if held is None:
        _check_read_twice(data, options)
    for features, labels, predicted in network.read(data, "first pass" if options.progress else None):
        if held is None:
            add_batch(moments, features, labels, network.classes)
            continue
        held.add(features, labels, predicted)
        if held.bytes > options.memory:
            _check_read_twice(data, options)
            held.add_to(moments, network.classes)
            held = None
    if held is not None:
        held.add_to(moments, network.classes)
    return moments, held


def _check_read_twice(data: Iterable, options: _Options) -> None:
    if options.kmeans:
        raise InputError(f"k-means needs all features, more than memory={options.memory:g} bytes; raise it or leave out kmeans=True")
    if iter(data) is data:
        raise InputError(f"the features take more than memory={options.memory:g} bytes, and a generator cannot be read twice")


class _Extras:
    """The columns that need more than the two passes' sums: VCI and the common size."""

    def __init__(self, split: Split, options: _Options) -> None:
        self.split, self.options, self.columns, self.within = split, options, {}, None
        wanted = options.common_n is not None and full(split.moments)
        self.common = CommonSize(options.common_n, len(split.moments.count)) if wanted else None

    def update(self, at: Hashable, features: Tensor, labels: Tensor) -> None:
        if self.options.vci and full(self.split.moments):
            self.within = within_scatter(self.within, features, labels, self.split.moments, weighting=self.options.weighting)
        if self.common is not None:
            self.common.update(features, labels)

    def result(self, processes: Processes) -> dict:
        columns = dict(self.columns)
        if self.options.vci and full(self.split.moments):
            within = processes.sum(self.within)
            columns["vci"] = vci_of(within, self.split.moments, weighting=self.options.weighting)
        if self.options.common_n is not None:
            columns["common_n"] = self.options.common_n
            if self.common is not None:
                columns |= self.common.compute(processes.sum)
        return columns


class _Network:
    """A network with what is read of it: the layers, the head, the forms of batches and scores."""

    def __init__(self, model: nn.Module, layer, head, batch, scores, pooling: Pooling, device) -> None:
        self.model, self.batch, self.scores, self.pooling = model, batch, scores, pooling
        self.layers = layer_names(model, layer)
        self.classes = 0
        here = next((p.device for p in model.parameters()), torch.device("cpu"))
        try:
            self.device = torch.device(device) if device is not None else here
        except (RuntimeError, TypeError) as error:
            raise InputError(f"device={device!r}: {error}".partition("\n")[0]) from None
        self.here = here
        self.head_name = module_name(model, head) if isinstance(head, nn.Module) else head if isinstance(head, str) else None
        self.head = None if head is None or self.head_name is not None else Head(head)
        if self.head_name is not None and self.head_name not in dict(model.named_modules()):
            raise unknown("head", self.head_name, dict(model.named_modules()))
        if self.head is not None and self.layers is None:
            raise InputError("head=(weight, bias) needs layer=, the name of the module whose output it reads")
        self.decides_at: float | None = None  # one output: where it decides, once a batch has been seen
        self.found: tuple[str | None] | None = None  # the head's name, once a batch has been seen

    def weight(self, at: str, split: Split) -> Tensor | None:
        """The classifier's weight for the features of a layer, checked; None where there is none."""
        (name,) = self.found
        if self.head is None and name is None:
            return None
        weight, bias = self.head.read() if self.head is not None else module_head(dict(self.model.named_modules())[name])
        wanted = tuple(split.moments.mean.shape)
        if len(weight) == 1 and wanted[0] == 2:
            weight, bias = two_class(weight, bias)
        if tuple(weight.shape) != wanted:
            raise InputError(f"layer {at}: the head's weight has the shape {tuple(weight.shape)}, not (classes, features) = {wanted}")
        return weight

    def read(self, data: Iterable, bar: str | None = None) -> Iterator[tuple[dict[str, Tensor], Tensor, Tensor]]:
        """One pass: features by layer, labels and predicted labels of each batch."""
        current = {}
        if bar is not None:
            data = _with_bar(data, bar)
        for number, one in enumerate(data):
            inputs, labels = batch_parts(one, self.batch)
            current["inputs"] = inputs
            if self.layers is None and self.head_name is None:
                self.head_name = self._find(inputs)
            names = self.layers or [self.head_name]
            side = "output" if self.layers else "input"
            with tapped(self.model, names, side=side, pooling=self.pooling, current=current) as taken:
                found = scores_of(run(self.model, inputs, self.device), self.scores)
            for name in names:
                if name not in taken:
                    own = "" if self.layers else "; if its weight is used in another way, give head=(weight, bias) with layer=NAME"
                    raise InputError(f"layer {name!r} did not run in the forward pass{own}")
            one_logit = found.shape[1] == 1
            self.classes = 2 if one_logit else found.shape[1]
            self.found = (self.head_name,)
            if not _decided(found):
                raise InputError(f"the outputs (scores) of batch {number} contain NaN or infinity; look at the network's activations")
            if one_logit and self.decides_at is None and len(found):
                self.decides_at = decides_at([output for _, output in self._record(inputs)[0].values()], found)
            predicted = (found[:, 0] > (self.decides_at or 0)).long() if one_logit else found.argmax(1)
            yield {name: taken[name] for name in names}, self._labels(labels, len(found)), predicted.cpu()

    def _labels(self, labels, samples: int) -> Tensor:
        return check_labels(labels, samples=samples, num_classes=self.classes)[0]

    def _find(self, inputs) -> str:
        """The head, from one forward pass of which all linear layers are recorded."""
        ran, bent, scores = self._record(inputs)
        if not _decided(scores):
            raise InputError("the outputs (scores) contain NaN or infinity; look at the network's activations")
        if not ran and (quantised := quantised_layers(self.model)):
            raise InputError(f"the network is quantised ({quantised[0]!r} is): measure it before it was, or a layer alone with layer=NAME")
        name = find_head(ran, scores)
        module_head(ran[name][0])  # for its checks
        if name in bent:
            raise InputError(
                f"the layer {name!r} ({type(ran[name][0]).__name__}) puts out more than its input times its weight plus its bias, as a "
                f"normalised head does: give the weight in use, head=(weight, bias) with layer=NAME, or head={name!r} to take it as it is"
            )
        return name

    def _record(self, inputs) -> tuple[dict[str, tuple[nn.Module, Tensor]], set[str], Tensor]:
        """One forward pass: what the linear layers put out, in the order in which they ran last, those that do more, and the scores."""
        ran: dict[str, tuple[nn.Module, Tensor, Tensor]] = {}
        came, bent = {}, set()

        def before(name):
            def hook(module, args, kwargs):
                came[name] = args[0] if args else next(iter(kwargs.values()), None)

            return hook

        def after(name, own):
            def hook(module, args, output):
                ran.pop(name, None)
                if isinstance(output, Tensor):
                    # copied as it passes, for what comes after may change it in place; of a map the mean is all that is looked at
                    ran[name] = (module, output, output.flatten(2).mean(2) if output.ndim > 2 else output.clone())
                    if not own and not is_linear(module, came[name], output):
                        bent.add(name)

            return hook

        hooks = []
        try:
            for name, module in self.model.named_modules():
                if linear_like(module):
                    own = is_plain(module)
                    hooks.append(module.register_forward_hook(after(name, own)))
                    if not own:  # before any other hook, which is where features are taken
                        hooks.append(module.register_forward_pre_hook(before(name), with_kwargs=True, prepend=True))
            scores = scores_of(run(self.model, inputs, self.device), self.scores)
        finally:
            for hook in hooks:
                hook.remove()
        # The very tensor that is put out is known to be the head's, unless it was changed on its way.
        outputs = {n: (m, output if output is scores and torch.equal(output, copy) else copy) for n, (m, output, copy) in ran.items()}
        return outputs, bent, scores

    @contextmanager
    def measuring(self, processes: Processes) -> Iterator[None]:
        """Eval mode without gradients on the device; each module's own mode, and the model's device, are put back."""
        modes = {module: module.training for module in self.model.modules()}
        try:
            with processes.all_or_none():
                try:
                    self.model.to(self.device).eval()
                except NotImplementedError:  # of one that torch.export made
                    why = "the network is exported (torch.export), and cannot be put into eval mode: measure the one that it was made from"
                    raise InputError(why) from None
            with torch.no_grad():
                yield
        finally:
            self.model.to(self.here)
            for module, mode in modes.items():
                module.training = mode


def _decided(scores: Tensor) -> bool:
    """Whether one score of each sample can be the largest: none is NaN or infinite, but for classes that are ruled out."""
    return not scores.numel() or bool(scores.amax() < torch.inf)


def _with_bar(data: Iterable, text: str) -> Iterable:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise InputError("progress=True needs tqdm: pip install tqdm") from None
    return tqdm(data, desc=text, leave=False)
