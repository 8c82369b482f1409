"""The base density of a flow, where it is not N(0, I): a distribution of torch.distributions as a module.

Distributions hold plain tensors, which neither ``Module.to`` nor ``state_dict`` reaches. ``BaseDensity`` keeps these
tensors as buffers, or as parameters where they require a gradient, and makes the distribution again when it is used.
Only log p(z) and its gradient enter the training objective (eq-objective), so that any density can be the base.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution, Independent

from snf_lite.runtime import checks
from snf_lite.runtime.rng import isolated_rng

#: The classes of torch.distributions that are rebuilt and saved, and the arguments from which they are made.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Normal", "Laplace", "Cauchy", "Gumbel", "LogNormal"), ("loc", "scale")),
    "VonMises": ("loc", "concentration"),
    "StudentT": ("df", "loc", "scale"),
    "Uniform": ("low", "high"),
    "Gamma": ("concentration", "rate"),
    "Exponential": ("rate",),
    "Beta": ("concentration1", "concentration0"),
    "MultivariateNormal": ("loc", "scale_tril"),
    "LowRankMultivariateNormal": ("loc", "cov_factor", "cov_diag"),
    "Categorical": ("logits",),
    "Independent": ("base_distribution", "reinterpreted_batch_ndims"),
    "MixtureSameFamily": ("mixture_distribution", "component_distribution"),
}


class BaseDensity(nn.Module):
    """A distribution whose tensors are buffers and parameters, so that it moves, trains and is saved with a flow.

    A tensor that requires a gradient becomes a parameter (a copy), any other a buffer. A distribution whose class is
    not in ``ARGUMENTS`` is used as it is: it does not move with the flow, and ``save`` refuses it.

    Args:
        distribution: A distribution with batch shape ().

    Example:
        >>> base = BaseDensity(Independent(distributions.Laplace(torch.zeros(2), torch.ones(2)), 1))
        >>> [name for name, _ in base.named_buffers()]
        ['base_distribution.loc', 'base_distribution.scale']
    """

    def __init__(self, distribution: Distribution) -> None:
        super().__init__()
        self.kind, self.validate = type(distribution), bool(distribution._validate_args)
        name = self.kind.__name__
        known = name in ARGUMENTS and self.kind is getattr(distributions, name)
        self.arguments = ARGUMENTS[name] if known else ()
        self.fixed = None if known else distribution
        for argument in self.arguments:
            value = getattr(distribution, "base_dist" if argument == "base_distribution" else argument)
            if isinstance(value, Distribution):
                value = BaseDensity(value)
            elif isinstance(value, Tensor):
                # torch expands arguments; an expanded tensor could not be written to
                copy = value.detach().clone(memory_format=torch.contiguous_format)
                if value.requires_grad:
                    value = nn.Parameter(copy)
                else:
                    self.register_buffer(argument, copy)
                    continue
            setattr(self, argument, value)

    def distribution(self, validate: bool = True) -> Distribution:
        """The distribution of torch.distributions with the tensors as they are now."""
        if self.fixed is not None:
            return self.fixed
        values = {argument: getattr(self, argument) for argument in self.arguments}
        for argument, value in values.items():
            if isinstance(value, BaseDensity):
                values[argument] = value.distribution(validate)
        return self.kind(**values, validate_args=self.validate and validate)

    def extra_repr(self) -> str:
        return self.kind.__name__

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z), (B,) in nats.

        Raises:
            ValueError: z lies outside of the support, or a trained parameter outside of its domain; a distribution
                made with ``validate_args=False`` gives what it computes there.
        """
        return self.distribution(checks.is_eager(z)).log_prob(z).to(z.dtype)

    def sample(self, n: int, generator: torch.Generator | None, differentiable: bool) -> Tensor:
        """n latents (n, *event_shape), with a gradient with respect to trained parameters if asked.

        torch.distributions draw from the global generators; a ``generator`` gives the seed of an isolated draw.

        Raises:
            NotImplementedError: a gradient with respect to parameters is asked of a distribution without ``rsample``.
        """
        drawn = self.distribution()
        reparameterized = differentiable and torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
        if reparameterized and not drawn.has_rsample:
            wanted = "a base with rsample, so that samples have a gradient with respect to its parameters"
            raise NotImplementedError(f"Flow.rsample: expected {wanted}, got {drawn}.")
        draw = drawn.rsample if reparameterized else drawn.sample
        if generator is None:
            return draw(torch.Size([n]))
        seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
        tensors = [*self.parameters(), *self.buffers()]
        with isolated_rng(tensors[0].device if tensors else "cpu", seed, "base"):
            return draw(torch.Size([n]))

    def settings(self) -> dict[str, Any]:
        """Class names, plain arguments, and which tensors are parameters: with the state dict, all that is needed.

        Raises:
            TypeError: the class is not in ``ARGUMENTS``.
        """
        if self.fixed is not None:
            wanted = f"a base among {', '.join(ARGUMENTS)} of torch.distributions"
            raise TypeError(f"Checkpoint: expected {wanted}, got {self.kind.__module__}.{self.kind.__qualname__}.")
        described: dict[str, Any] = {"class": self.kind.__name__, "validate": self.validate}
        for argument in self.arguments:
            value = getattr(self, argument)
            if isinstance(value, BaseDensity):
                described[argument] = value.settings()
            else:
                described[argument] = type(value).__name__ if isinstance(value, Tensor) else value
        return described


def restored_base(described: Mapping[str, Any], weights: Mapping[str, Tensor], prefix: str = "base.") -> Distribution:
    """The distribution that ``BaseDensity.settings`` describes, with its tensors from a flow's state dict.

    Raises:
        ValueError: an unknown class, or an argument that is missing or refused.
    """
    name = described.get("class")
    if name not in ARGUMENTS:
        raise ValueError(f"the base is of class {name!r}, not of one among {', '.join(ARGUMENTS)}")
    values: dict[str, Any] = {}
    for argument in ARGUMENTS[name]:
        value = described.get(argument)
        if isinstance(value, Mapping):
            value = restored_base(value, weights, f"{prefix}{argument}.")
        elif isinstance(value, str):
            tensor = weights.get(prefix + argument)
            if tensor is None:
                raise ValueError(f"the base's {prefix + argument} is missing")
            value = tensor.clone().requires_grad_(value == "Parameter")
        values[argument] = value
    try:
        made: Distribution = getattr(distributions, name)(**values, validate_args=described.get("validate"))
    except Exception as error:  # torch raises its own kinds on values that do not fit
        raise ValueError(f"the base {name} does not take its stored arguments: {error}") from error
    return made


def as_base(base: Any, z_shape: tuple[int, ...]) -> BaseDensity:
    """The base density of a flow, from a distribution whose batch and event shape together are ``z_shape``.

    Batch dimensions become part of a latent (``Independent``), so that there is one log p(z) for each.

    Raises:
        TypeError: base is no distribution.
        ValueError: another shape.
    """
    if not isinstance(base, Distribution):
        wanted = f"a torch.distributions.Distribution of shape {z_shape}"
        raise TypeError(f"Flow: expected base to be {wanted}, got {type(base).__name__}.")
    batch, event_shape = tuple(base.batch_shape), tuple(base.event_shape)
    if batch + event_shape != z_shape:
        n = len(z_shape)
        example = f"Independent(Normal(torch.zeros{z_shape}, torch.ones{z_shape}), {n})"
        got = f"batch shape {batch} and event shape {event_shape}"
        raise ValueError(f"Flow: expected a base of event shape {z_shape}, such as {example}, got {got}.")
    return BaseDensity(Independent(base, len(batch), validate_args=base._validate_args) if batch else base)
