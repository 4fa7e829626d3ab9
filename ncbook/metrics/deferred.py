"""Classes that are imported when they are first used: `torchmetrics` takes longer to import than everything else here together."""

from importlib import import_module
from inspect import signature


class Deferred:
    """Stands for a class: calls, subclasses, ``isinstance`` and attributes go to the class itself, which is imported then.

    >>> Path = Deferred("pathlib", "PurePosixPath")
    >>> isinstance(Path("a") / "b", Path), Path.__name__
    (True, 'PurePosixPath')
    """

    def __init__(self, module: str, name: str) -> None:
        self.__dict__.update(_module=module, _name=name)

    def _load(self):
        return getattr(import_module(self._module), self._name)

    def __call__(self, *args, **kwargs):
        return self._load()(*args, **kwargs)

    def __mro_entries__(self, bases):
        return (self._load(),)

    def __instancecheck__(self, instance) -> bool:
        return isinstance(instance, self._load())

    def __subclasscheck__(self, cls) -> bool:
        return issubclass(cls, self._load())

    def __or__(self, other):
        return self._load() | other

    def __ror__(self, other):
        return other | self._load()

    def __reduce__(self):
        return Deferred, (self._module, self._name)

    @property
    def __signature__(self):
        return signature(self._load())

    def __getattr__(self, name: str):
        if name in ("_module", "_name"):  # of one that is being made: there is nothing to ask
            raise AttributeError(name)
        return getattr(self._load(), name)

    def __repr__(self) -> str:
        return f"<class {self._module}.{self._name}, imported when it is first used>"
