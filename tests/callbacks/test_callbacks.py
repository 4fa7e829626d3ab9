"""Callbacks in the frameworks' own loops, on the handwritten digits of scikit-learn; each is skipped where its framework is missing."""

import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ncbook.torchvision_compat  # noqa: F401
from ncbook.callbacks import log_collapse
from ncbook.callbacks.plain import guarded
from ncbook.errors import InputError
from ncbook.metrics import ClassMeans, Collapse, collapse_table, measure

KEYS = {"nc1", "variance_ratio", "cdnv", "nc2_equinorm", "nc3_self_duality", "nc4_ncc_mismatch", "ncc_error", "error", "weak_nearest_mean"}
pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    return TensorDataset(x[:1200], y[:1200]), TensorDataset(x[1200:], y[1200:])


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def test_a_plain_loop(digits):
    logged = {}
    model = network()
    found = log_collapse(logged.update, model, *(DataLoader(split, 100) for split in digits))
    assert found == logged and {f"collapse/{split}/{key}" for split in ("train", "test") for key in KEYS} <= set(logged)
    wanted = measure(model, digits[0]).iloc[0]  # a data set in the place of a loader
    assert logged["collapse/train/nc1"] == pytest.approx(wanted["nc1"], rel=1e-6)


def test_options_are_checked_at_once_and_nothing_stops_training(digits):
    with pytest.raises(InputError, match="unknown option 'layerr'; did you mean 'layer'"):
        log_collapse(print, network(), digits[0], layerr="2")
    said = []
    assert guarded(said.append, lambda: {"a": 1}) == {"a": 1}
    for wrong in (InputError("so"), RuntimeError("mat1\nand mat2"), NotImplementedError(), KeyError("x")):

        def fails(wrong=wrong):
            raise wrong

        assert guarded(said.append, fails) == {}
    assert said[0] == "collapse is not measured: so" and said[1] == "collapse is not measured: RuntimeError: mat1" and len(said) == 4


@pytest.mark.parametrize("name", ["lightning", "huggingface", "keras"])
def test_a_missing_framework_is_named(name):
    blocked = "; ".join(f"sys.modules[{one!r}] = None" for one in ("lightning", "pytorch_lightning", "transformers", "keras"))
    program = f"import sys; {blocked}; import ncbook.callbacks.{name}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: ncbook.callbacks.{name} needs ") and "pip install" in done.stderr


@pytest.fixture
def lightning():
    module = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

    class Classifier(module.LightningModule):
        """Carries the metric objects as torchmetrics users do, and logs them."""

        def __init__(self, train):
            super().__init__()
            self.net = network()
            self.means = ClassMeans(10, 32, head=self.net[2], only="variance_ratio")
            self.data = train

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            x, y = batch
            return nn.functional.cross_entropy(self(x), y)

        def validation_step(self, batch, _):
            x, y = batch
            self.means(self.net[:2](x), y)
            self.log("V", self.means)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-3)

    return module, Classifier


def test_lightning(lightning, digits, tmp_path):
    from ncbook.callbacks.lightning import CollapseCallback

    pl, Classifier = lightning
    train, val = (DataLoader(split, 100) for split in digits)
    model = Classifier(train)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, callbacks=[CollapseCallback(train)], num_sanity_val_steps=2,
    )  # fmt: skip
    trainer.fit(model, DataLoader(digits[0], 100, shuffle=True), val)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert {f"collapse/{split}/{key}" for split in ("train", "val") for key in KEYS} <= set(logged)
    wanted = measure(model, train, val)
    for row, split in ((0, "train"), (1, "val")):
        for key in KEYS:
            assert logged[f"collapse/{split}/{key}"] == pytest.approx(wanted[key][row], rel=1e-4), (split, key)
    assert logged["V"] == pytest.approx(wanted["variance_ratio"][1], rel=1e-4)  # self.log with the metric itself


def test_lightning_in_bfloat16_and_without_enough_data(lightning, digits, tmp_path):
    """A module cast to bfloat16 keeps float64 statistics, and validation data without all classes stop nothing."""
    from ncbook.callbacks.lightning import CollapseCallback

    pl, Classifier = lightning
    few = torch.utils.data.Subset(digits[1], (digits[1].tensors[1] < 3).nonzero().flatten().tolist())
    model = Classifier(None)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, callbacks=[CollapseCallback()], precision="bf16-true",
    )  # fmt: skip
    trainer.fit(model, DataLoader(digits[0], 100), DataLoader(few, 50))
    assert model.means.packed.dtype == torch.float64
    assert math.isnan(trainer.callback_metrics["V"]) and "collapse/val/nc1" not in trainer.callback_metrics


def test_lightning_with_several_loaders_and_without_a_forward(lightning, digits, tmp_path):
    from ncbook.callbacks.lightning import CollapseCallback

    pl, Classifier = lightning
    for options, says in (({"layerr": 1}, "did you mean 'layer'"), ({"every_n_epochs": 0}, "1 or more")):
        with pytest.raises(InputError, match=says):
            CollapseCallback(**options)

    class Several(Classifier):
        def validation_step(self, batch, _, dataloader_idx=0):
            pass

    class NoForward(Several):
        forward = pl.LightningModule.forward

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    train, val = (DataLoader(split, 600) for split in digits)
    for kind, network, loaders, says in (
        (Several, None, [val, train], ["collapse is measured of the first of 2 validation loaders alone"]),
        (NoForward, None, val, 2 * ["collapse is not measured: NotImplementedError"]),
        (Several, "nett", val, 2 * ["collapse is not measured: AttributeError"]),
    ):
        model = kind(None)
        trainer = pl.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path,
            enable_model_summary=False, callbacks=[CollapseCallback(network=network)],
        )  # fmt: skip
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer.fit(model, train, loaders)
        told = [str(one.message) for one in caught if str(one.message).startswith("collapse is")]
        assert len(told) == len(says) and all(map(str.startswith, told, says)), told
        assert trainer.current_epoch == 2 and ("collapse/val/error" in trainer.callback_metrics) == (len(says) == 1)


def test_hugging_face_trainer(digits, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from ncbook.callbacks.huggingface import CollapseCallback

    class Images(torch.utils.data.Dataset):
        def __init__(self, split):
            self.x, self.y = split.tensors

        def __len__(self):
            return len(self.y)

        def __getitem__(self, i):
            return {"pixel_values": self.x[i].view(1, 8, 8), "labels": self.y[i]}

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        num_labels=10,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config)
    logged = {}
    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=1, per_device_train_batch_size=100, per_device_eval_batch_size=100, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    callback = CollapseCallback(DataLoader(Images(digits[0]), 100), log=logged.update)
    trainer = transformers.Trainer(model, arguments, train_dataset=Images(digits[0]), eval_dataset=Images(digits[1]), callbacks=[callback])
    trainer.train()
    metrics = trainer.evaluate()
    assert {f"collapse/{split}/{key}" for split in ("train", "eval") for key in KEYS} <= set(metrics) & set(logged)
    wanted = measure(model, Images(digits[0]), Images(digits[1]))
    assert wanted["layer"][0] == "classifier"
    assert metrics["collapse/eval/nc1"] == pytest.approx(wanted["nc1"][1], rel=1e-4)
    assert any("collapse/eval/nc1" in entry for entry in trainer.state.log_history)
    with pytest.raises(InputError, match="did you mean 'layer'"):
        CollapseCallback(layerr=1)
    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=1, per_device_train_batch_size=600, per_device_eval_batch_size=600, report_to=[], use_cpu=True,
        save_strategy="best", eval_strategy="epoch", metric_for_best_model="collapse/eval_b/nc1", greater_is_better=False,
        disable_tqdm=True,
    )  # fmt: skip
    sets = {name: Images(split) for name, split in zip("ab", digits, strict=True)}
    trainer = transformers.Trainer(model, arguments, train_dataset=Images(digits[0]), eval_dataset=sets, callbacks=[CollapseCallback()])
    trainer.train()
    metrics = trainer.evaluate()
    assert metrics["collapse/eval_a/nc1"] != metrics["collapse/eval_b/nc1"] == pytest.approx(trainer.state.best_metric)


def test_keras(digits):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="keras is not installed")
    from ncbook.callbacks.keras import CollapseCallback

    (x, y), (x2, y2) = ([part.numpy() for part in split.tensors] for split in digits)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10), keras.layers.Softmax()])
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(x, y, epochs=2, verbose=0, callbacks=[CollapseCallback(x, y, (x2, y2))]).history
    assert {f"collapse/{split}/{key}" for split in ("train", "val") for key in KEYS} <= set(history)
    hidden = model.layers[0]
    kernel, bias = (keras.ops.convert_to_numpy(part) for part in (hidden.kernel, hidden.bias))
    features = np.maximum(x @ kernel + bias, 0)
    assert history["collapse/train/nc1"][-1] == pytest.approx(collapse_table((features, y))["nc1"][0], rel=1e-4)


def test_keras_binary_and_one_hot(digits):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="keras is not installed")
    from ncbook.callbacks.keras import CollapseCallback

    for options, says in (({"kmean": 1}, "did you mean 'kmeans'"), ({"every_n_epochs": 0}, "1 or more")):
        with pytest.raises(InputError, match=says):
            CollapseCallback(None, None, **options)
    x, y = (part.numpy() for part in digits[0].tensors)
    two = y < 2
    for end, data, labels, loss in (
        ((1, "sigmoid"), x[two], y[two].astype(np.float32)[:, None], "binary_crossentropy"),
        ((1, None), x[two], y[two], keras.losses.BinaryCrossentropy(from_logits=True)),
        ((10, "softmax"), x, np.eye(10)[y], "categorical_crossentropy"),
    ):
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(*end)])
        model.compile(keras.optimizers.SGD(0.0), loss)
        found = model.fit(data, labels, epochs=1, verbose=0, callbacks=[CollapseCallback(data, labels)]).history
        assert {f"collapse/train/{key}" for key in KEYS - ({"nc2_equinorm"} if end[0] == 1 else set())} <= set(found)
        scores = model.predict(data, verbose=0)
        wrong = (scores[:, 0] > (0.5 if end[1] else 0)) != y[two] if end[0] == 1 else scores.argmax(1) != y
        assert found["collapse/train/error"][-1] == pytest.approx(wrong.mean())


def test_timm(digits):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=10, in_chans=1)
    images = TensorDataset(nn.functional.interpolate(digits[0].tensors[0].view(-1, 1, 8, 8), 32)[:200], digits[0].tensors[1][:200])
    table = measure(model, images)
    assert table["layer"].tolist() == ["fc"] and table["nc3_self_duality"].notna().all()
    distilled = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=10, in_chans=1, img_size=32)
    with pytest.raises(ValueError, match="'head', 'head_dist'"):
        measure(distilled, images)
    assert measure(distilled, images, head="head")["layer"].tolist() == ["head"]


def test_sklearn_features(digits):
    from sklearn.decomposition import PCA

    (x, y), (x2, y2) = (split.tensors for split in digits)
    pca = PCA(20).fit(x)
    table = collapse_table((pca.transform(x), y.tolist()), (pca.transform(x2), y2.numpy()))
    assert table["nc1"].between(0.01, 10).all() and (table["ncc_error"] < 0.2).all()


def test_torchmetrics_habits(digits):
    from torchmetrics import MetricCollection

    x, y = digits[0].tensors
    both = MetricCollection({"a": ClassMeans(10, 64), "b": ClassMeans(10, 64, weighting="sample")}, prefix="val/")
    one = ClassMeans(10, 64, prefix="train/")
    for part in zip(x.split(300), y.split(300), strict=True):
        both.update(*part)
        values = one(*part)
    assert set(values) == set(one.compute()) and all(name.startswith("train/") for name in values)
    found = both.compute()
    assert all(name.startswith("val/") for name in found) and len(found) == 10
    collapse = Collapse(one.moments(), only="nc1")
    collapse.update(x, y)
    assert collapse.compute().item() == pytest.approx(collapse_table((x, y))["nc1"][0], rel=1e-6)
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("agg")
    for metric, history in ((one, None), (one, [one.compute()] * 3), (collapse, None)):
        figure, axes = metric.plot(history)
        assert figure is not None and axes is not None
        matplotlib.pyplot.close(figure)


def test_lightning_on_two_processes():
    pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    import json
    import subprocess
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent))
    from lightning_on_two_processes import Classifier, digits

    script = Path(__file__).with_name("lightning_on_two_processes.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    logged = json.loads(done.stdout.split("LOGGED ")[1].splitlines()[0])
    wanted = measure(Classifier(), TensorDataset(*digits())).iloc[0]
    for key in KEYS:
        assert logged[f"collapse/val/{key}"] == pytest.approx(wanted[key], rel=1e-4), key
