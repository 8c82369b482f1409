"""A flow as a distribution of torch.distributions, for code that takes one."""

import math
from typing import Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from snf_lite.latents.sampler import Sampler
from snf_lite.runtime import checks


class FlowDistribution(Distribution):
    """The exact density of a flow, for each context of a batch: what ``Flow.distribution`` gives.

    Samples are exact (f⁻¹), so that ``log_prob`` is their density. The parameters remain the flow's. Of a flow of
    pixels, ``log_prob`` draws dequantization noise (a lower bound, in expectation), and samples have no gradient.

    Args:
        flow: The flow.
        context: Contexts (*batch_shape, K) of a conditioned flow; None for any other, with batch shape ().
        validate_args: Whether values are checked against the support; None: the default of torch.distributions.

    Raises:
        TypeError, ValueError: as ``Flow.log_prob`` about the context.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, flow: Sampler, context: Tensor | None = None, validate_args: bool | None = None) -> None:
        rows = context.flatten(0, -2) if isinstance(context, Tensor) and context.dim() > 2 else context
        batch = len(rows) if isinstance(rows, Tensor) and rows.dim() == 2 else 1
        checks.context_of(rows, flow.context_features, batch, flow.dtype, "Flow.distribution")
        self.flow, self.context, self.has_rsample = flow, context, flow.levels is None
        batch_shape = Size() if context is None else context.shape[:-1]
        super().__init__(batch_shape, Size(flow.event_shape), validate_args)

    @property
    def support(self) -> Any:
        """Real numbers; pixels from 0 to levels − 1; numbers in [0, 1] where the first layer is a ``Logit``."""
        one = getattr(self.flow.layers[0], "support", constraints.real) if self.flow.layers else constraints.real
        if self.flow.levels is not None:
            one = constraints.integer_interval(0, self.flow.levels - 1)
        return constraints.independent(one, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "FlowDistribution":
        """The same distribution with batch dimensions expanded to ``batch_shape``."""
        new: FlowDistribution = self._get_checked_instance(FlowDistribution, _instance)
        new.flow, new.has_rsample, shape = self.flow, self.has_rsample, Size(batch_shape)
        new.context = None if self.context is None else self.context.expand(*shape, -1)
        Distribution.__init__(new, shape, self.event_shape, self._validate_args)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value), (..., *batch_shape) in nats, for values (..., *batch_shape, *event_shape)."""
        if self._validate_args:
            self._validate_sample(value)
        lead = torch.broadcast_shapes(value.shape[: value.dim() - len(self.event_shape)], self.batch_shape)
        points = value.expand(lead + self.event_shape).reshape(-1, *self.event_shape)
        return self.flow.log_prob(points, self._contexts(lead)).reshape(lead)

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - as torch has it
        """Exact samples (*sample_shape, *batch_shape, *event_shape), without a gradient."""
        lead = self._lead(sample_shape)
        x = self.flow.sample(math.prod(lead), exact=True, context=self._contexts(lead))
        return x.reshape(lead + self.event_shape)

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact samples, differentiable with respect to the flow's parameters and the context."""
        lead = self._lead(sample_shape)
        return self.flow.rsample(math.prod(lead), context=self._contexts(lead)).reshape(lead + self.event_shape)

    def rsample_and_log_prob(self, sample_shape: Any = Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """Exact samples and their log-density, as of ``Flow.sample_and_log_prob``, both differentiable."""
        lead = self._lead(sample_shape)
        x, log_prob = self.flow.sample_and_log_prob(math.prod(lead), context=self._contexts(lead))
        return x.reshape(lead + self.event_shape), log_prob.reshape(lead)

    def _lead(self, sample_shape: Any) -> Size:
        """The axes before those of a sample."""
        return Size((*sample_shape, *self.batch_shape))

    def _contexts(self, lead: Size) -> Tensor | None:
        """A context for each of the values, whose leading axes are ``lead``: (N, K)."""
        return None if self.context is None else self.context.expand(*lead, -1).reshape(-1, self.context.shape[-1])

    def entropy(self) -> Tensor:
        """Not available: the mean of −log_prob over samples estimates it."""
        raise self._no_closed_form("entropy", "-d.log_prob(d.sample((10_000,))).mean(0)")

    @property
    def mean(self) -> Tensor:
        """Not available: the mean of samples estimates it."""
        raise self._no_closed_form("mean", "d.sample((10_000,)).mean(0)")

    @property
    def variance(self) -> Tensor:
        """Not available: the variance of samples estimates it."""
        raise self._no_closed_form("variance", "d.sample((10_000,)).var(0)")

    def _no_closed_form(self, name: str, estimate: str) -> NotImplementedError:
        return NotImplementedError(
            f"FlowDistribution: the {name} of a flow has no closed form; estimate it by {estimate}."
        )

    def __repr__(self) -> str:
        return f"FlowDistribution(batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)})"
