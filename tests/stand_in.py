"""A device that is not there: tensors that say they lie on ``meta``, hold their numbers on the CPU, and keep its rules.

``meta`` by itself mixes with the CPU in products, convolutions, solves and look-ups without a word, and has no values
to read. Here an operation on tensors of two devices is refused, as CUDA refuses it, and float64, where asked, as
Apple's GPUs refuse it. What comes out are the CPU's numbers, so results can be compared.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

#: The name under which torch knows the stand-in: it has no memory and no kernels to get in the way.
NAME = "meta"
#: What may have its sources and its result on different devices.
MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
DOUBLE = (torch.float64, torch.complex128)


class There(Tensor):
    """A tensor on the stand-in: ``held`` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "There":
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return Tensor._make_wrapper_subclass(cls, held.shape, device=NAME, requires_grad=False, **layout)

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: the stand-in was left; work on its tensors inside `with StandIn()`.")


class StandIn(TorchDispatchMode):
    """Within the block ``device="meta"`` is a device of its own.

    Args:
        float64: whether it has double precision.
    """

    def __init__(self, float64: bool = True) -> None:
        super().__init__()
        self.float64 = float64

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = any(isinstance(tensor, There) for tensor in given)
        if there and func not in MOVES:
            require_one_device(func, given)
        if kwargs.get("device") is not None:
            there = torch.device(kwargs["device"]).type == NAME
            kwargs["device"] = "cpu"
        elif func is torch.ops.aten.copy_.default:
            there = isinstance(args[0], There)
        found = func(*tree_map_only(There, held, args), **tree_map_only(There, held, kwargs))
        if not there:
            return found
        if not self.float64 and any(one.dtype in DOUBLE for one in tree_leaves(found) if isinstance(one, Tensor)):
            raise TypeError(f"{func}: this device has no float64.")
        return args[0] if in_place(func) else tree_map_only(Tensor, There, found)


def held(tensor: There) -> Tensor:
    return tensor.held


def in_place(func: Any) -> bool:
    """Whether an operation writes into its first argument, and returns that."""
    first = func._schema.arguments[:1]
    return bool(first and first[0].alias_info is not None and first[0].alias_info.is_write)


def require_one_device(func: Any, given: list[Tensor]) -> None:
    """Refuse a mixture but for single numbers from the CPU, which elementwise operations take on every device."""
    single = torch.Tag.pointwise in func.tags
    here = [one for one in given if not isinstance(one, There) and not (single and one.dim() == 0)]
    if here:
        raise RuntimeError(f"{func}: expected all tensors on one device, found {NAME} and {here[0].device}.")
