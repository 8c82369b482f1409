"""The flow: a chain of layers and a base density, by default the standard normal one.

With z = f(x) and log p(z) = log N(z; 0, I), the exact log-likelihood of the data is

    log p(x) = log N(f(x); 0, I) + Σ_k log|det J_k|    (eq-change),

and maximum likelihood minimizes its negative mean, the negative log-likelihood (NLL) in nats (eq-likelihood). With a
learned inverse g there are two likelihoods of x: that of f, and that of the inverse of g, in which -log|det J_g|
replaces log|det J_f| (eq-two-likelihoods). Self-normalizing training maximizes half of each, minus a penalty that
keeps g close to the inverse of f,

    ½ log p_f(x) + ½ log p_g(x) − Σ_k λ_k ‖g_k(f_k(x)) − x‖²    (eq-objective),

and in the gradient of each log-determinant the inverse Jacobian is replaced by that of the partner (eq-general). Exact
and self-normalizing passes are never mixed: ``log_prob`` is the exact likelihood of f, ``loss`` is the training
objective, whose *gradient* matters and whose value is no likelihood wherever a layer learns its inverse.
"""

import math
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from snf_lite.checked import hooks
from snf_lite.geco import weighted_errors
from snf_lite.latents.base import as_base
from snf_lite.latents.distribution import FlowDistribution
from snf_lite.latents.sampler import Sampler
from snf_lite.layer import FlowLayer
from snf_lite.runtime import checks

#: Errors of g, as shares of z's length, from which its use warns: after gradients of the exact likelihood, and after
#: weights were loaded. Trained by ``loss`` for 200 steps on digits a layer's was at most 0.06 at λ = 1 and 0.14 at
#: λ = 0.1, and on correlated points, after 120 steps at ten times the rate, up to 0.13; by -log_prob, which does not
#: train g, at least 0.11 and up to 0.64 on the digits, and above 1 on the points.
TRAINED_TOLERANCE, LOADED_TOLERANCE = 0.2, 0.25


class Flow(Sampler):
    """A chain of layers and the base density N(0, I): log p(x) = log N(f(x); 0, I) + Σ_k log|det J_k|   (eq-change).

    Args:
        layers: The bijections, data side first.
        event_shape: The event shape: (D,), or (C, H, W) for images.
        base: Base density of the latents, a ``torch.distributions.Distribution`` of the shape of z; None: N(0, I) in
            closed form. Its tensors are copied in the flow's dtype (``BaseDensity``), and trained where they require a
            gradient.

    Attributes:
        context_features: K, where layers are conditioned on a context (B, K), which ``log_prob``, ``loss`` and the
            others then take; else None.

    Raises:
        ValueError: a layer does not accept the output of the one before; the message names it. Layers take contexts of
            different sizes, or the base has another shape.
        TypeError: an element of ``layers`` is no layer, or their dtypes differ; the base is no distribution.

    Example:
        >>> flow = snf.Flow([snf.SelfNormLinear(2), snf.SmoothLeakyReLU(), snf.SelfNormLinear(2)], (2,))
        >>> x = torch.zeros(5, 2)
        >>> flow.log_prob(x).shape, flow.sample(3).shape
        (torch.Size([5]), torch.Size([3, 2]))
        >>> flow.loss(x).backward()
        >>> torch.allclose(flow.inverse(flow(x)[0]), x, atol=1e-5)
        True
        >>> heavy = torch.distributions.StudentT(torch.full((2,), 3.0))  # tails for data far from the rest
        >>> snf.Flow([snf.SelfNormLinear(2)], (2,), base=heavy).log_prob(x).shape
        torch.Size([5])

    References:
        Keller et al., Self Normalizing Flows, ICML 2021, the objective (https://arxiv.org/abs/2011.07248).
    """

    initialised: Tensor

    def __init__(
        self, layers: Iterable[FlowLayer], event_shape: Iterable[int], base: Distribution | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(checks.modules(layers, "Flow"))
        self.event_shape = checks.shape_tuple(event_shape, "event_shape", "Flow")
        if any(getattr(layer, "in_a_flow", False) for layer in self.layers):  # as after a load
            self._inverse_tolerance = LOADED_TOLERANCE
        self.z_shape = self.bind_layers(self.event_shape, "Flow")
        self.features = math.prod(self.event_shape)
        members = [layer for layer, _ in self.iter_layers(self.event_shape)]
        dtypes = {layer.dtype: layer.label for layer in reversed(members) if layer.dtype is not None}
        if len(dtypes) > 1:
            described = ", ".join(f"{label} has {dtype}" for dtype, label in dtypes.items())
            raise TypeError(f"Flow: expected layers of one dtype, got several: {described}.")
        contexts = {layer.context_features: layer.label for layer in reversed(members) if layer.context_features}
        if len(contexts) > 1:
            described = ", ".join(f"{label} takes {features}" for features, label in contexts.items())
            raise ValueError(f"Flow: expected one context for all layers, got several sizes: {described} features.")
        self.context_features = next(iter(contexts), None)
        # Persistent, so that a restored flow is never initialized a second time from other data.
        self.register_buffer("initialised", torch.tensor(False))
        # Empty: it only follows .to(), and so knows dtype and device where no layer has a parameter.
        dtype = next(iter(dtypes), torch.get_default_dtype())
        self.register_buffer("_anchor", torch.empty(0, dtype=dtype), persistent=False)
        self.base = None if base is None else as_base(base, self.z_shape).to(dtype)
        self.register_load_state_dict_post_hook(_after_load)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z = f(x) of shape (B, *z_shape) and the exact log|det J_f|, (B,) in nats, preprocessing included.

        The log-determinant is the sum of the layers' own, each at its own input (eq-compose). context: (B, K), or (K,)
        for all data points, where layers are conditioned on one.

        Raises:
            TypeError, ValueError, FloatingPointError: as ``FlowLayer.forward``; the message names the layer. A layer
                that returns something else than it promises is refused by name, here and in every other pass.
        """
        x = self._checked_input(x, whole=True)
        with checks.without_autocast(x):
            z, log_det = self.forward_layers(x, self.dtype, self.context_of(context, len(x)))
        if log_det.requires_grad and checks.is_eager(x):
            log_det.register_hook(self._exact_gradient_taken)
        return z, log_det

    def _exact_gradient_taken(self, _: Tensor) -> None:
        self._inverse_tolerance = TRAINED_TOLERANCE

    def reconstruct(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """g(f(x)): through the layers and back through their learned inverses; equal to x where g = f⁻¹.

        For an exact sample x = f⁻¹(z) it is g(z), so its distance from x is that between the two samples
        (eq-sample-gap).
        """
        return self.inverse(self(x, context)[0], exact=False, context=context)

    def base_log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of the base density, (B,) in nats."""
        return standard_normal_log_prob(z) if self.base is None else self.base.log_prob(z)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The exact log-likelihood of f (eq-change), (B,) in nats, of the dtype of the flow.

        To evaluate, not to train, where a layer learns its inverse: gradients of -log_prob train f alone, and g, which
        ``sample`` uses by default, stays behind. Train such a flow by ``loss``. ``.detach().numpy()`` makes an array.
        """
        if self.levels is not None:
            x = self._checked_input(x)
        z, log_det = self(x, context)
        return self.base_log_prob(z) + log_det

    def loss(self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """The training objective to minimize, a scalar: batch mean of penalties minus the objective (eq-objective).

        What to train by, whatever the layers: without a learned inverse it is the mean of -log_prob.
        ``backward()`` leaves the gradients of eq-dense-gradients and eq-conv-gradients on layers that learn their
        inverse, exact ones on every other (relative ones on ``RelativeGradientLinear``). The value leaves out the
        log-determinants that were never computed: it is not a likelihood. A loop of your own calls ``after_step()`` of
        the flow after the optimizer's step: it adapts the penalty of layers with a ``tolerance``.

        Args:
            x: Data points (B, *event_shape), B ≥ 1.
            context: Context (B, K) or (K,), for a conditioned flow.
            weights: Weights w (B,) ≥ 0 of the data points: the mean becomes Σ w l / Σ w, as if each were repeated.

        Raises:
            FloatingPointError: the loss is not finite; the message names the first layer that is not.
            TypeError, ValueError: as ``forward``; a weight is negative or not finite, or all are zero.
        """
        if hooks.runs_hooks(self):
            return cast(Tensor, hooks.call(self, self._loss, x, context, weights))
        return self._loss(x, context, weights)

    def _loss(self, x: Tensor, context: Tensor | None, weights: Tensor | None) -> Tensor:
        x = self._checked_input(x)
        if len(x) == 0:
            raise ValueError(f"Flow.loss: expected at least one data point, got a batch of shape {tuple(x.shape)}.")
        untrained = self._inverse_tolerance is not None or not self._loss_called
        if untrained and torch.is_grad_enabled() and checks.is_eager(x):
            self._inverse_tolerance, self._loss_called = None, True
        context = self.context_of(context, len(x))
        if weights is None:
            z, total, penalty = self.training_pass(x, self.dtype, context)
        else:
            weights = self._normalized(weights, len(x))
            with weighted_errors(self, weights):
                z, total, penalty = self.training_pass(x, self.dtype, context)
        objective = self.base_log_prob(z) + total
        losses = -objective if penalty is None else penalty - objective
        loss = losses.mean() if weights is None else (weights * losses).sum()
        if not checks.all_finite(loss):
            self.name_non_finite_layer(x, context)
        return loss

    def _normalized(self, weights: Tensor, batch: int) -> Tensor:
        """Weights (B,) of data points, checked, over their sum."""
        checks.require_tensor(weights, "Flow.loss, weights")
        if tuple(weights.shape) != (batch,):
            wanted = f"weights of shape ({batch},), one for each data point"
            raise ValueError(f"Flow.loss: expected {wanted}, got {tuple(weights.shape)}.")
        weights = weights.to(self.device, self.dtype)
        total = weights.sum()
        if checks.is_eager(weights) and not (bool((weights >= 0).all()) and 0 < float(total) < math.inf):
            got = f"{float(weights.min())} to {float(weights.max())}"
            raise ValueError(f"Flow.loss: expected finite weights ≥ 0 that are not all zero, got {got}.")
        return weights / total

    def distribution(self, context: Tensor | None = None, validate_args: bool | None = None) -> FlowDistribution:
        """The exact density as a ``torch.distributions.Distribution``; the parameters remain this flow's.

        Args:
            context: Contexts (*batch_shape, K) of a conditioned flow: a distribution for each.
            validate_args: Whether values are checked against the support.

        Raises:
            TypeError, ValueError: as ``log_prob`` about the context.

        Example:
            >>> density = snf.build("dense-exact", (2,)).distribution()
            >>> density.log_prob(density.sample((5, 3))).shape
            torch.Size([5, 3])
        """
        return FlowDistribution(self, context, validate_args)

    @torch.no_grad()
    def name_non_finite_layer(self, x: Tensor, context: Tensor | None = None) -> None:
        """Raise FloatingPointError that names the first layer whose training pass is not finite on x."""
        size, label = self.name_non_finite(x, context)
        raise FloatingPointError(
            f"{label}: its latents reach {size:.1e}, and their squares or the sum of all terms overflow."
        )

    @torch.no_grad()
    def initialise(self, batch: Tensor, whiten: bool = False, context: Tensor | None = None) -> "Flow":
        """Set data-dependent parameters from a batch, layer after layer; returns the flow.

        Args:
            batch: Data points (B, *event_shape), as for ``log_prob``.
            whiten: Whether dense layers become W = cov^-1/2 of their own inputs, R = cov^1/2, b = -W·mean.
            context: Context (B, K) or (K,), for a conditioned flow.

        Raises:
            ValueError: whitening needs more data points in the batch than features.
        """
        batch = self._checked_input(batch)
        with checks.without_autocast(batch):
            self.initialise_layers(batch, whiten, self.dtype, self.context_of(context, len(batch)))
        self.initialised.fill_(True)
        return self

    @property
    def is_fresh(self) -> bool:
        """Whether the flow was neither initialized nor trained nor loaded, in whole or in part, since it was made."""
        members = [layer for layer, _ in self.iter_layers(self.event_shape)]
        return not bool(self.initialised) and not any(layer.is_trained() for layer in members)

    def _checked_input(self, x: Tensor, whole: bool = False) -> Tensor:
        """x if it holds data points; float pixels that are ``whole`` numbers are refused where a density is meant."""
        levels, dtype = self.levels, self.dtype
        checks.require_tensor(x, "Flow", dtype if levels is None else torch.uint8)
        checks.require_single_or_double(dtype, "Flow")
        if levels is None:
            checks.require_dtype(x, dtype, "Flow")
        else:
            self.bijections[0].check_dtype(x)
        checks.require_batch_of(x, self.event_shape, "Flow")
        checks.require_on_device(x, self.device, "Flow")
        if x.is_floating_point():
            checks.require_finite_input(x, "Flow")
            if levels is not None:
                checks.require_points(x, levels, "Flow", whole)
        if type(x) is not Tensor and hasattr(x, "split_name"):  # of ``load``: torch.compile takes plain tensors alone
            return x.as_subclass(Tensor)
        return x


def _after_load(flow: nn.Module, _: Any) -> None:
    """Follow the loaded parameters where the state dict has nothing; the learned inverse may be of any quality."""
    assert isinstance(flow, Flow)
    for tensor in (*flow.parameters(), *flow.buffers()):
        if tensor.is_floating_point():
            flow._anchor = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            break
    for layer, _shape in flow.iter_layers(flow.event_shape):
        layer.restore_constants(flow._anchor)
    if not flow._loss_called:
        flow._inverse_tolerance = LOADED_TOLERANCE


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) summed over each data point, (B,) in nats: closed form, O(D), no covariance matrix.

    At z = 0 it is D/2 nats above its mean over latents of the density itself (eq-mode-gap).
    """
    energy = z.flatten(1).square().sum(1)
    return -0.5 * (energy + math.prod(z.shape[1:]) * math.log(2 * math.pi))
