"""Pickles, and archives of ``torch.save``, read without running code from them or believing the sizes they claim.

``torch.load(weights_only=True)`` runs no code either, but it takes the length of a storage from the pickle, not from
the bytes in the archive, builds sparse, nested and meta tensors, and unpacks compressed members to any size.
"""

import io
import math
import pickle
import struct
import sys
import zipfile
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

#: Dtype of the elements by the name of torch's class of storages.
_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
#: Dtypes of the tensors that an archive may hold.
DTYPES = frozenset(_STORAGES.values())
#: Opcodes that make objects without asking ``find_class`` for an admitted name.
_REFUSED = pickle.EXT1 + pickle.EXT2 + pickle.EXT4 + pickle.INST + pickle.OBJ + pickle.NEWOBJ + pickle.NEWOBJ_EX


class Unpickler(pickle._Unpickler):
    """Unpickles builtin containers, and what a subclass admits; an unrestricted pickle can run any program.

    It is the one written in Python: the one in C reserves memory for any index that the file names.

    Args:
        content: The whole pickle.
    """

    #: Function by the module and name that stand for it in the file.
    admitted: ClassVar[Mapping[tuple[str, str], Any]] = {}
    #: Classes of objects whose state may be set.
    stateful: ClassVar[tuple[type, ...]] = ()

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")  # the byte strings of Python 2

    def find_class(self, module: str, name: str) -> Any:
        """The function behind an admitted name; UnpicklingError for any other name."""
        if (module, name) not in self.admitted:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}")
        return self.admitted[module, name]

    def load_build(self) -> None:
        """Set the state of an object; of a function it would change how the function works."""
        if not isinstance(self.stack[-2], self.stateful):  # type: ignore[attr-defined]
            raise pickle.UnpicklingError(f"refused to set the state of a {type(self.stack[-2]).__name__}")  # type: ignore[attr-defined]
        super().load_build()  # type: ignore[misc]

    def load_bytearray8(self) -> None:
        """Append a bytearray; the inherited method reserves the length that the file claims."""
        (length,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]

    def refuse(self) -> None:
        raise pickle.UnpicklingError("refused an opcode that makes objects of any class")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        **dict.fromkeys(_REFUSED, refuse),
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }


def load_archive(data: bytes) -> Any:
    """Content of what ``torch.save`` wrote: builtin values and dense tensors, on the CPU.

    Takes about as much memory as the data have bytes. Zip, pickle and torch each raise errors of their own on damaged
    data.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > len(data):
                raise ValueError(f"expected {member.filename} to be stored as it is, got it compressed")
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        return _ArchiveUnpickler(archive, pickled.removesuffix("data.pkl")).load()


class _ArchiveUnpickler(Unpickler):
    """Unpickles the main member of an archive, with the storages of its tensors from the other members."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(archive.read(f"{folder}data.pkl"))
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != sys.byteorder.encode():
            raise ValueError(f"expected numbers in the byte order {sys.byteorder}, got another one")
        self._archive, self._folder, self._storages = archive, folder, dict[str, Tensor]()

    def find_class(self, module: str, name: str) -> Any:
        """A storage class is its name, which nothing can call."""
        return name if module == "torch" and name in _STORAGES else super().find_class(module, name)

    def persistent_load(self, saved: Any) -> Tensor:
        """A storage, as a tensor (numbers,)."""
        match saved:
            case ("storage", str(kind), str(key), str(), int(numel)) if kind in _STORAGES:
                if key not in self._storages:
                    content = bytearray(self._archive.read(f"{self._folder}data/{key}"))
                    empty = torch.empty(0, dtype=_STORAGES[kind])
                    self._storages[key] = torch.frombuffer(content, dtype=empty.dtype) if content else empty
                storage = self._storages[key]
                if storage.dtype == _STORAGES[kind] and len(storage) == numel:
                    return storage
        raise ValueError(f"expected a storage with as many numbers as its member has, got {str(saved)[:100]}")

    admitted: ClassVar[Mapping[tuple[str, str], Any]] = {
        ("torch._utils", "_rebuild_tensor_v2"): lambda *entries: _rebuilt(*entries),
        ("collections", "OrderedDict"): lambda: {},
    }


def _rebuilt(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """A tensor over a part of its storage; ValueError if it reaches beyond it, or repeats numbers of it."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage, Tensor) or not all(type(n) is int and 0 <= n < 2**63 for n in numbers) or any(rest[2:]):
        raise ValueError("expected a dense tensor with its offset, size and stride")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > len(storage) or (count and last >= len(storage)):
        raise ValueError(f"expected a tensor within its storage of {len(storage)} numbers, got the shape {size}")
    return storage.as_strided(size, stride, offset)


class BoundedFactories(TorchDispatchMode):
    """Within it, new tensors may have ``most`` bytes together: MemoryError before more are allocated."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        arguments = {argument.name for argument in func._schema.arguments}
        if "device" in arguments:  # a function that makes a tensor from sizes
            without_values = {"device": "meta", **({"generator": None} if "generator" in arguments else {})}
            made = func(*args, **{**kwargs, **without_values})
            self.left -= made.nbytes
            if self.left < 0:
                raise MemoryError(f"a tensor of shape {tuple(made.shape)} is far larger than the stored weights")
        return func(*args, **kwargs)
