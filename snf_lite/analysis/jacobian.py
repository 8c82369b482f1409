"""Jacobians and log-determinants of any map, by automatic differentiation."""

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def log_volume(f: Map, x: Tensor) -> Tensor:
    """log|det J_f| at each x (B, D) by automatic differentiation, (B,) in nats: for any map, O(D³) per example.

    J_f is the matrix of ∂f_i/∂x_j. The absolute value of its determinant is the factor by which f scales a
    small volume around x (eq-volume): 0 nats where f preserves it, -inf where the Jacobian is singular. Differentiable
    with respect to x and the parameters of f (eq-chain).

    Args:
        f: map (B, D) → (B, D) that treats examples independently; of a layer or flow ``lambda x: layer(x)[0]``.
        x: (B, D).

    Raises:
        ValueError: x is not a batch of vectors, or f returns vectors of another length.
    """
    if x.dim() != 2:
        raise ValueError(f"log_volume: expected x of shape (B, D), got {tuple(x.shape)}.")
    jacobians = torch.func.vmap(torch.func.jacrev(lambda example: f(example[None])[0]))(x)
    if jacobians.shape[1:] != (x.shape[1], x.shape[1]):
        wanted, got = x.shape[1:], tuple(jacobians.shape[1:-1])
        raise ValueError(f"log_volume: expected f to give vectors of shape {tuple(wanted)}, got {got}.")
    return torch.linalg.slogdet(jacobians).logabsdet


def latent_and_jacobian(encode: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """z = encode(x) (B, D) and its Jacobians ∂z_i/∂x_j (B, D, D), by one backward pass for each i.

    Works for any map that treats examples independently, also where torch.func does not.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        z = encode(x).flatten(1)
        rows = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0].flatten(1) for column in z.unbind(1)]
    return z.detach(), torch.stack(rows, 1)
