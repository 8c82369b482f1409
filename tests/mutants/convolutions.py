"""Emerging convolutions and the convolution exponential."""

from mutation import Mutant

MUTANTS: dict[str, Mutant] = {
    "emerging: channels see all channels": Mutant(
        "snf_lite/layers/emerging.py",
        "mask[:, :, -1, -1].tril_()",
        "mask[:, :, -1, -1]",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[EmergingConv2d-small-image]",
    ),
    "emerging: flipped one masked like the other": Mutant(
        "snf_lite/layers/emerging.py",
        "torch.where(flipped, self.f",
        "torch.where(self.mask, self.f",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[EmergingConv2d-small-image]",
    ),
    "emerging: flipped one looks the same way": Mutant(
        "snf_lite/layers/emerging.py",
        "(flipped, (p, 0, p, 0))",
        "(flipped, (0, p, 0, p))",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[EmergingConv2d-1-channel]",
    ),
    "emerging: one diagonal counted twice": Mutant(
        "snf_lite/layers/emerging.py",
        "self.flipped_weight[:, :, 0, 0]]",
        "self.weight[:, :, -1, -1]]",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[EmergingConv2d-1-channel]",
    ),
    "emerging: log-det of one row": Mutant(
        "snf_lite/layers/emerging.py",
        "height * width * diagonals",
        "width * diagonals",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[EmergingConv2d-1-channel]",
    ),
    "emerging: a NaN gets past the mask": Mutant(
        "snf_lite/layers/emerging.py",
        "torch.where(self.mask, self.weight, 0.0)",
        "self.mask * self.weight",
        "layers/test_emerging.py::test_what_is_masked_neither_matters_nor_learns",
    ),
    "emerging: rows above forgotten": Mutant(
        "snf_lite/layers/emerging.py",
        "row - earlier @ matrix.mT",
        "row",
        "theory/test_layers.py::test_exact_inverse_round_trips[EmergingConv2d-5]",
    ),
    "emerging: rows above from the top": Mutant(
        "snf_lite/layers/emerging.py",
        "zip(above, reversed(found)",
        "zip(above, found",
        "theory/test_layers.py::test_exact_inverse_round_trips[EmergingConv2d]",
    ),
    "emerging: channels not turned in the inverse": Mutant(
        "snf_lite/layers/emerging.py",
        "turned).flip(1, 2, 3)",
        "turned).flip(2, 3)",
        "theory/test_layers.py::test_exact_inverse_round_trips[EmergingConv2d-small-image]",
    ),
    "emerging: a zero tap is let through": Mutant(
        "snf_lite/linalg/dense_matrix.py",
        "(sizes > 0) &",
        "(sizes >= 0) &",
        "layers/test_emerging.py::test_refuses_a_zero_among_its_own_taps[flipped_weight-0]",
    ),
    "exponential: no factorial": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "kernel / n, functorch)",
        "kernel, functorch)",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[ConvExponential2d-1x1]",
    ),
    "exponential: inverse by the same exponential": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "-kernel, self.terms_needed",
        "kernel, self.terms_needed",
        "theory/test_layers.py::test_exact_inverse_round_trips[ConvExponential2d-1x1]",
    ),
    "exponential: sign of the trace": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "return height * width * kernel",
        "return -height * width * kernel",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[ConvExponential2d-1x1]",
    ),
    "exponential: trace of the first tap": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "center = kernel.shape[-1] // 2",
        "center = 0",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[ConvExponential2d]",
    ),
    "exponential: training's terms everywhere": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "self._map(x, kernel, self.terms_needed(kernel))",
        "self._map(x, kernel, 6)",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[ConvExponential2d]",
    ),
    "exponential: weight not scaled": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "return self.weight * (",
        "return self.weight + 0 * (",
        "theory/test_layers.py::test_shapes_and_dtypes[dtype0-ConvExponential2d]",
    ),
    "exponential: small weights scaled up": Mutant(
        "snf_lite/layers/conv_exponential.py",
        ".clamp_min(self.coefficient))",
        ")",
        "theory/test_layers.py::test_float32_follows_float64[ConvExponential2d-stale-norm]",
    ),
    "exponential: norm without a gradient": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "self.spectral_norm().clamp",
        "self.spectral_norm().detach().clamp",
        "layers/test_conv_exponential.py::test_the_gradient_goes_through_the_norm",
    ),
    "exponential: power iteration without the transposed": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "convolve(self.left, toeplitz.flip(self.weight), functorch)",
        "convolve(self.left, self.weight, functorch)",
        "layers/test_conv_exponential.py::test_the_power_iteration_finds_the_largest_singular_value[2-5]",
    ),
    "exponential: bound at the frequencies alone": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "return largest / math.cos(math.pi * degree / angles) ** 2",
        "return largest",
        "layers/test_conv_exponential.py::test_the_bound_holds_between_its_frequencies_too[1-3]",
    ),
    "exponential: bound of one axis": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "degree / angles) ** 2",
        "degree / angles)",
        "layers/test_conv_exponential.py::test_the_bound_is_met_where_the_peak_lies_midway_between_its_frequencies_on_both_axes",
    ),
    "exponential: remainder relative to x": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "REMAINDER * math.exp(-norm)",
        "REMAINDER",
        "layers/test_conv_exponential.py::test_terms_are_as_many_as_the_remainder_asks_for[7.19]",
    ),
    "exponential: only the first term left out": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "first / (1 - norm / (terms + 2))",
        "first",
        "layers/test_conv_exponential.py::test_terms_are_as_many_as_the_remainder_asks_for[7.19]",
    ),
    "exponential: stale bound": Mutant(
        "snf_lite/layers/conv_exponential.py",
        "self._bound.get(kernel,",
        "self._bound.get(kernel * 0,",
        "theory/test_layer_refusals.py::"
        "test_remembered_factorisations_notice_a_changed_weight[through .data-ConvExponential2d]",
    ),
}
