"""From latents to data: the inverse of a flow, and its samples.

A sample is the inverse at a latent z ~ p(z), exactly (f⁻¹) or through the learned inverses (g). The two have different
densities (eq-two-likelihoods): f⁻¹(z) that of f, which ``log_prob`` gives, and g(z) the density p(z) / |det J_g(z)|,
which is never computed. ``sample`` uses the learned inverses by default, and the methods whose samples are compared
with a density use the exact one.
"""

import math
from typing import cast

import torch
from torch import Tensor

from snf_lite.chain import Chain
from snf_lite.latents.base import BaseDensity
from snf_lite.runtime import checks

#: Largest number of samples on which the learned inverse is measured.
INVERSE_SAMPLES = 64


class Sampler(Chain):
    """The part of a flow that leads from latents to data; ``Flow`` adds the likelihood."""

    event_shape: tuple[int, ...]
    z_shape: tuple[int, ...]
    #: K, if a layer is conditioned on a context (B, K); else None.
    context_features: int | None
    #: The base density; None: N(0, I).
    base: BaseDensity | None
    _anchor: Tensor
    # Error of g from which its next use warns, None if g need not be measured; whether ``loss`` was ever called.
    _inverse_tolerance: float | None = None
    _loss_called = False

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of float input, of parameters and of log_prob."""
        return self._anchor.dtype

    @property
    def device(self) -> torch.device:
        return self._anchor.device

    @property
    def levels(self) -> int | None:
        """The number of values of a pixel, if the first layer dequantizes; else None."""
        return getattr(self.layers[0], "levels", None) if self.layers else None

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The exact log-likelihood, (B,) in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob.")

    def base_log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of the base density, (B,) in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no base_log_prob.")

    def inverse(self, z: Tensor, exact: bool = True, context: Tensor | None = None) -> Tensor:
        """x with f(x) = z, layer by layer; ``exact=False`` applies the learned inverses in one pass.

        z: (B, *z_shape), finite. A flow whose first layer dequantizes gives uint8 pixels. A learned inverse that was
        left untrained is noticed as in ``sample``.
        """
        checks.require_tensor(z, "Flow.inverse")
        checks.require_dtype(z, self.dtype, "Flow.inverse")
        checks.require_batch_of(z, self.z_shape, "Flow.inverse")
        checks.require_on_device(z, self.device, "Flow.inverse")
        checks.require_finite_input(z, "Flow.inverse")
        context = self.context_of(context, len(z))
        with checks.without_autocast(z):
            if self._inverse_tolerance is not None and not exact and len(z) and checks.is_eager(z):
                some = None if context is None else context[:INVERSE_SAMPLES]
                self._check_learned_inverse(z[:INVERSE_SAMPLES], some, self._inverse_tolerance)
            return self.inverse_layers(z, exact, context)

    def _check_learned_inverse(self, z: Tensor, context: Tensor | None, tolerance: float) -> None:
        """Warn if the learned inverse of a layer is far off on latents z; once for each state of the weights."""
        self._inverse_tolerance = None
        errors = self.learned_inverse_errors(z, self.event_shape, context)
        label = max(errors, key=errors.__getitem__, default="")
        if errors and not errors[label] <= tolerance:
            checks.warn(
                f"{label}: f(g(z)) differs from z by {errors[label]:.0%} of its length: the learned inverse g, which "
                "sample, reconstruct and inverse(exact=False) use, does not belong to f. Gradients of log_prob do not "
                "train g: train by flow.loss(x), or use exact=True."
            )

    def context_of(self, context: Tensor | None, batch: int) -> Tensor | None:
        """The context (B, K) of a batch, checked; None for a flow without conditioned layers."""
        return checks.context_of(context, self.context_features, batch, self.dtype, "Flow")

    @torch.no_grad()
    def sample(
        self, n: int, exact: bool = False, generator: torch.Generator | None = None, *,
        seed: int | None = None, temperature: float = 1.0, context: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Draw n samples: z ~ p(z), then g(z) in one pass, or f⁻¹(z) with ``exact=True``; without a gradient.

        ``log_prob`` is the density of the exact samples alone; where a layer learns its inverse, the others have
        another one. g is as good an inverse as ``loss`` has made it: if gradients of ``log_prob`` were taken since, or
        weights were loaded, its error is measured once, and a UserWarning gives it if it is large. For samples with a
        gradient see ``rsample``, for samples with their density ``sample_and_log_prob``.

        Args:
            n: Number of samples.
            exact: Whether to use f⁻¹; False uses the learned inverses.
            generator: Generator of the latents; None: torch's global one.
            seed: Seed of a generator for this call alone, in place of ``generator``.
            temperature: Scale T ≥ 0 of the latents, z ~ N(0, T² I); 1 for another base density than N(0, I).
            context: Context (K,) of all samples, or (n, K), for a conditioned flow.

        Returns:
            (n, *event_shape); uint8 pixels where the first layer dequantizes.

        Raises:
            ValueError: n, seed, temperature or context is none; a generator and a seed are given; a layer is singular.
            TypeError: the generator is none.
        """
        z = self.sample_base(n, generator, seed=seed, temperature=temperature)
        return self.inverse(z, exact=exact, context=context)

    def rsample(
        self, n: int, exact: bool = True, generator: torch.Generator | None = None, *,
        seed: int | None = None, temperature: float = 1.0, context: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """n samples as of ``sample``, differentiable with respect to parameters and context (reparameterized).

        Exact samples train the parameters of f, not the learned inverses; with ``exact=False`` it is the reverse. The
        errors are those of ``sample``, and:

        Raises:
            TypeError: the flow gives pixels, which have no gradient.
            NotImplementedError: the base density has parameters, and no ``rsample``.
        """
        if self.levels is not None:
            raise TypeError("Flow.rsample: pixels have no gradient, as the first layer rounds them; use sample.")
        z = self.sample_base(n, generator, seed=seed, temperature=temperature, differentiable=True)
        return self.inverse(z, exact=exact, context=context)

    def sample_and_log_prob(
        self, n: int, exact: bool = True, generator: torch.Generator | None = None, *,
        seed: int | None = None, temperature: float = 1.0, context: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """n exact samples x, and the log of the density from which they are drawn, (n,) in nats; both differentiable.

        The density is log p(z) + log|det J_f(x)| with z ~ N(0, T² I) or the flow's own base. So the mean of q(x) / p(x)
        is 1 for every density q. Pixels x are rounded from a point y of [0, levels]^D; the log-density is that of y,
        and the mean of Q(x) / p(y) is 1 for every distribution Q of pixels, while ``log_prob`` of the pixels
        dequantizes them with new noise.

        Raises:
            ValueError: ``exact=False`` where a layer learns its inverse, as the density of g(z) is not that of f, and
                is not computed; or T = 0. Otherwise as ``rsample``, but pixels are drawn, without a gradient.
        """
        if not exact and any(layer.learned_inverse for layer in self.bijections):
            two = "samples of the learned inverse g have the density p(z) / |det J_g(z)|, and log_prob is that of f"
            raise ValueError(f"Flow.sample_and_log_prob: {two}; use exact=True.")
        checks.number_between(temperature, 0, math.inf, "temperature", "Flow.sample_and_log_prob")
        z = self.sample_base(n, generator, seed=seed, temperature=temperature, differentiable=True)
        log_prob = self.base_log_prob(z / temperature) - math.prod(self.z_shape) * math.log(temperature)
        with checks.without_autocast(z):
            x, log_det = self._inverse_and_log_det(z, self.context_of(context, len(z)))
        return x, log_prob + log_det

    def _inverse_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """f⁻¹(z), and log|det J_f| there, (B,) in nats: each layer's at its own x."""
        total = torch.zeros(len(z), dtype=self.dtype, device=self.device)
        for layer in reversed(self.bijections):
            own = layer.own(context)
            x = layer.checked_invert(z, True, self.dtype, *own)
            if x.is_floating_point():
                total = total + layer.checked_transform(x, self.dtype, *own)[1]
            elif self.levels is not None:  # pixels, rounded from the point z · levels
                total = total - math.prod(self.event_shape) * math.log(self.levels)
            else:
                raise TypeError(f"{layer.label}: expected an inverse of {self.dtype} to have a density, got {x.dtype}.")
            z = x
        return z, total

    def sample_base(
        self, n: int, generator: torch.Generator | None = None, *,
        seed: int | None = None, temperature: float = 1.0, differentiable: bool = False,
    ) -> Tensor:  # fmt: skip
        """n latents z ~ p(z), (n, *z_shape), as of ``sample``: keep them to compare g(z) with f⁻¹(z).

        differentiable: whether they have a gradient with respect to parameters of the base density.
        """
        n = checks.integer(n, "a", "Flow.sample", at_least=0, wanted="number of samples ≥ 0")
        temperature = checks.non_negative(temperature, "temperature", "Flow.sample")
        if seed is not None:
            if generator is not None:
                raise ValueError("Flow.sample: expected a generator or a seed, got both.")
            seed = checks.integer(
                seed, "seed", "Flow.sample", at_least=-(2**63), at_most=2**63 - 1, wanted="to be an integer of 64 bits"
            )
            generator = torch.Generator(self.device).manual_seed(seed)
        elif not isinstance(cast(object, generator), torch.Generator | None):
            got = f"got {generator!r}; for a number, write seed=..."
            raise TypeError(f"Flow.sample: expected generator to be a torch.Generator, {got}")
        if self.base is None:
            device = generator.device if generator is not None else self.device
            z = torch.randn((n, *self.z_shape), generator=generator, dtype=self.dtype, device=device).to(self.device)
            return z if temperature == 1 else temperature * z
        if temperature != 1:
            wanted = "a temperature of 1, as it scales latents of N(0, I) alone and the base is another"
            raise ValueError(f"Flow.sample: expected {wanted}, got {temperature}.")
        return self.base.sample(n, generator, differentiable).to(self.device, self.dtype)
