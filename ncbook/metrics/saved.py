"""Load saved features, mapped rather than read where possible, and checkpoints of networks."""

import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ncbook.errors import InputError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")


def load_features(path, *, features: str = "features", labels: str = "labels", outputs: str = "outputs") -> tuple[np.ndarray, ...]:
    """``(features, labels)`` or ``(features, labels, outputs)`` of a file or folder, as `collapse_table` takes them.

    A folder holds ``features.npy``, ``labels.npy`` and perhaps ``outputs.npy``; a ``.npz`` file holds arrays of these names; a ``.pt`` file
    holds a dict of tensors. Arrays on disk (all ``.npy``, and ``.npz`` that is not compressed) are memory-mapped: of features larger than
    memory only the block in use is read. Half precision stays as it is on disk. Raises `InputError` for what is not there or would need
    unpickling.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "saved.npz"
    >>> np.savez(place, features=np.eye(2, dtype=np.float16), labels=np.arange(2))
    >>> [type(part).__name__ + " " + str(part.dtype) for part in load_features(place)]
    ['memmap float16', 'memmap int64']
    """
    path = Path(path).expanduser()
    names = (features, labels, outputs)
    try:
        if path.is_dir():
            found = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in names if (path / f"{name}.npy").is_file()}
        elif path.suffix == ".npz":
            found = _npz(path, names)
        elif path.suffix in (".pt", ".pth"):
            loaded = _torch_load(path)
            found = {name: loaded[name] for name in names if isinstance(loaded, dict) and name in loaded}
        else:
            raise InputError(f"{path} is neither a folder of .npy files nor a .npz or .pt file")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as arrays of numbers: {error}".replace("\n", " ")) from None
    missing = [name for name in names[:2] if name not in found]
    if missing:
        raise InputError(f"{path} holds no {' and no '.join(missing)}; name the arrays with features=... and labels=...")
    return tuple(found[name] for name in names if name in found)


def load_checkpoint(model: nn.Module, path) -> nn.Module:
    """Load the weights of a checkpoint file into ``model``, and give it back.

    The file holds a state dict, or one under a usual name ("state_dict", "model", …), whose names may begin with what wrappers add
    ("module.", "_orig_mod.", "model."). Read without unpickling anything but tensors. Raises `InputError` where names or shapes do not fit
    the model.
    """
    path = Path(path).expanduser()
    try:
        state = _torch_load(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    for name in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
            break
    if not isinstance(state, dict) or not any(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no state dict")
    wanted = set(model.state_dict())
    while not wanted & set(state):
        prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in state)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    state = {name: value for name, value in state.items() if name in wanted}
    missing = sorted(wanted - set(state))
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of the network's {len(wanted)} weights, the first {missing[0]!r}; is it of another network?"
        )
    try:
        model.load_state_dict(state)
    except RuntimeError:
        wrong = next(name for name, value in model.state_dict().items() if value.shape != state[name].shape)
        raise InputError(
            f"{path}: {wrong} has the shape {tuple(state[wrong].shape)}, in the network {tuple(model.state_dict()[wrong].shape)}"
        ) from None
    return model


def _torch_load(path: Path):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles that are refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, struct.error) as error:
        why = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path} is not a file of tensors alone, and nothing else is unpickled here ({why})") from None


def _npz(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of these names, mapped where they are stored as they are."""
    found = {}
    with zipfile.ZipFile(path) as archive, np.load(path) as arrays:
        for name in names:
            if name not in arrays.files:
                continue
            member = archive.getinfo(f"{name}.npy")
            found[name] = _mapped(path, member) if member.compress_type == zipfile.ZIP_STORED else arrays[name]
    return found


def _mapped(path: Path, member: zipfile.ZipInfo) -> np.ndarray:
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        name, extra = np.frombuffer(file.read(4), "<u2")  # their lengths in the local header, which is 30 bytes long
        file.seek(member.header_offset + 30 + int(name) + int(extra))
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise InputError(f"{path} holds Python objects, and nothing is unpickled here")
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")
