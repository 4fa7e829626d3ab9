"""What data sets, networks and settings are called in a sentence. Imports nothing heavy."""

NAMES = {
    "mnist": "MNIST",
    "mnist5k": "MNIST sample",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "gaussian": "Gaussian classes",
    "glyphs": "letters and digits",
    "mlp": "MLP",
    "mlp_plain": "MLP without batch norm",
    "mlp_wide": "wide MLP",
    "mlp_deep": "MLP, 8 hidden layers",
    "cnn": "CNN",
    "cnn_deep": "CNN, 6 layers",
    "resnet_small": "small ResNet",
    "resnet18": "ResNet-18",
    "resnet20": "ResNet-20",
    "two_layer": "two-layer network",
    "cross_entropy": "cross-entropy",
    "squared": "squared loss",
    "logistic": "logistic, raw",
    "standardised": "logistic, standardised",
    "whitened": "logistic, whitened",
    "neighbours": "nearest neighbours",
    "centre": "nearest class centre",
}
OF_COLUMN: dict[str, str | dict] = {  # values that say nothing without the column that they stand in
    "dimension": "d = {}",
    "patterns": "{} patterns",
    "linear_layers": "{} linear layers",
    "weight_decay": "weight decay {}",
    "train_size": "{} training images",
    "activation": {"pre": "before the activation", "post": "after the activation", "relu": "ReLU"},
    "bias": {False: "no bias", True: "a bias"},
    "blur": "blurred by {}",
    "relu": {False: "linear", True: "ReLU"},
    "statistics": "batch norm by {}",
    "normalised": {False: "features of any length", True: "features of length 1"},
    "change": {"permutation": "permuted", "rotation": "rotated"},
}


def name(value: object) -> str:
    """What a value is called, whatever its column: ours by its name, another one (a folder, say) as it is.

    >>> name("cifar10"), name("gaussian:classes=4,separation=20"), name("my_images")
    ('CIFAR-10', 'Gaussian classes, classes 4, separation 20', 'my images')
    """
    preset, colon, options = str(value).partition(":")
    if colon and preset in NAMES:  # a data set with options
        return f"{NAMES[preset]}, {options.replace('=', ' ').replace(',', ', ')}"
    return NAMES.get(str(value), str(value).replace("_", " "))


def setting(column: str | None, value: object) -> str:
    """A value of a setting in words.

    >>> setting("dataset", "mnist"), setting("dimension", 2), setting("normalised", True)
    ('MNIST', 'd = 2', 'features of length 1')
    """
    words = OF_COLUMN.get(str(column), "{}")
    if isinstance(words, dict):
        return words.get(value) or name(value)
    return words.format(f"{value:g}" if isinstance(value, float) else name(value))
