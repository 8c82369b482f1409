"""The gradients of the self-normalizing, relative-gradient and LU layers."""

from mutation import Mutant

MUTANTS: dict[str, Mutant] = {
    "dense: sign of the log-det's gradient": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "x.to(dtype), half, R)",
        "x.to(dtype), -half, R)",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormLinear-1]",
    ),
    "dense: R in place of its transpose": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "x.to(dtype), half, R)",
        "x.to(dtype), half, R.T)",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormLinear-gaussian]",
    ),
    "dense: missing half of the log-det": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "half = 0.5 * grad",
        "half = 1.0 * grad",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormLinear-1]",
    ),
    "dense: missing half of the data term": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "R.to(dtype), beta=0.5",
        "R.to(dtype), beta=1.0",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormLinear-gaussian]",
    ),
    "dense: missing half of R's data term": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "pull, grad_x, alpha=-0.5",
        "pull, grad_x, alpha=-1.0",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormLinear-gaussian]",
    ),
    "dense: sign of R's log-det": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "Wx, -half, W)",
        "Wx, half, W)",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormLinear-gaussian]",
    ),
    "dense: missing 2 of the reconstruction": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "(2 * grad_recon",
        "(1 * grad_recon",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormLinear-1]",
    ),
    "dense: bias leaks into Wx": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "W.to(dtype).T\n        error",
        "W.to(dtype).T + b\n        error",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormLinear-1]",
    ),
    "dense: bias takes half": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "grad_W, grad_R, grad_z.sum(0)",
        "grad_W, grad_R, 0.5 * grad_z.sum(0)",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormLinear-gaussian]",
    ),
    "dense: input takes half": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "grad_x = delta @ W",
        "grad_x = 0.5 * delta @ W",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormLinear]",
    ),
    "dense: learned inverse forgets the bias": Mutant(
        "snf_lite/dense.py",
        "linear(self.centered(z, context), self.inverse_weight)",
        "linear(z, self.inverse_weight)",
        "theory/test_layers.py::test_training_pass_maps_like_the_exact_one[SelfNormLinear-gaussian]",
    ),
    "relative: multiplied from the left": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "delta.T @ (Wx @ low)",
        "(delta @ low.T).T @ Wx",
        "theory/test_surrogate_gradients.py::test_relative_gradient_is_the_exact_one_times_WtW",
    ),
    "lu: no diagonal in the lower factor": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "grad_Ux = torch.addmm(delta, delta, lower.to(dtype))",
        "grad_Ux = delta @ lower.to(dtype)",
        "theory/test_layers.py::test_training_pass_sends_the_exact_gradient_to_the_input[LULinear]",
    ),
    "lu: lower factor's gradient transposed": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "(delta.T @ Ux)",
        "(Ux.T @ delta)",
        "layers/test_lu.py::test_the_step_leaves_the_gradients_of_the_plain_product",
    ),
    "lu: sign of log|det|": Mutant(
        "snf_lite/layers/lu.py",
        "return pivots.log().sum()",
        "return -pivots.log().sum()",
        "theory/test_layer_refusals.py::test_remembered_factorisations_notice_a_changed_weight[in place-LULinear]",
    ),
    "lu: factors solved in the wrong order": Mutant(
        "snf_lite/layers/lu.py",
        "(self.lower, self.centered(z, context).mT, upper=False, unitriangular=True)",
        "(self.upper, self.centered(z, context).mT, upper=True)",
        "theory/test_layers.py::test_inverse_is_differentiable[LULinear]",
    ),
    "conv: sign of the log-det's gradient": Mutant(
        "snf_lite/linalg/convolution.py",
        "addcmul_(counts, r_flipped)",
        "sub_(counts * r_flipped)",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormConv2d-5]",
    ),
    "conv: missing flip": Mutant(
        "snf_lite/linalg/convolution.py",
        "addcmul_(counts, r_flipped)",
        "addcmul_(counts, r)",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormConv2d-5]",
    ),
    "conv: missing half": Mutant(
        "snf_lite/linalg/convolution.py",
        "counts = 0.5 * grad",
        "counts = 1.0 * grad",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormConv2d-5]",
    ),
    "conv: taps of the padding counted": Mutant(
        "snf_lite/linalg/toeplitz.py",
        "(height - offsets)",
        "(height - 0 * offsets)",
        "linalg/test_toeplitz.py::test_tap_counts_count_the_taps_of_the_matrix[shape2]",
    ),
    "conv: flip without the channels": Mutant(
        "snf_lite/linalg/toeplitz.py",
        "weight.transpose(0, 1).flip(2, 3)",
        "weight.flip(2, 3)",
        "linalg/test_toeplitz.py::test_flip_is_the_transpose",
    ),
    "conv: flip of one axis": Mutant(
        "snf_lite/linalg/toeplitz.py", ".flip(2, 3)", ".flip(2)", "linalg/test_toeplitz.py::test_flip_is_the_transpose"
    ),
    "context: added by the inverse": Mutant(
        "snf_lite/dense.py",
        "z - linear(context, self.context_weight)",
        "z + linear(context, self.context_weight)",
        "flow/test_context.py::test_round_trips_at_each_context[ExactLinear]",
    ),
    "context: left out of the training pass": Mutant(
        "snf_lite/dense.py",
        "return self.shifted(z, context), log_det, self.penalty(recon)",
        "return z, log_det, self.penalty(recon)",
        "flow/test_context.py::test_the_mean_of_a_conditioned_density_is_learned",
    ),
    "sampler: density of the temperature with the sign turned": Mutant(
        "snf_lite/latents/sampler.py",
        "- math.prod(self.z_shape) * math.log(temperature)",
        "+ math.prod(self.z_shape) * math.log(temperature)",
        "flow/test_sampler.py::test_the_log_prob_of_cooler_samples_is_that_of_their_own_density",
    ),
    "sampler: density of pixels with the sign turned": Mutant(
        "snf_lite/latents/sampler.py",
        "total - math.prod(self.event_shape)",
        "total + math.prod(self.event_shape)",
        "flow/test_sampler.py::test_pixels_come_with_the_density_of_the_point_they_are_rounded_from",
    ),
    "base: the standard normal in the loss": Mutant(
        "snf_lite/flow.py",
        "objective = self.base_log_prob(z) + total",
        "objective = standard_normal_log_prob(z) + total",
        "flow/test_base.py::test_with_true_inverses_the_loss_gradients_are_exact_or_half[StudentT]",
    ),
    "weights: not over their sum": Mutant(
        "snf_lite/flow.py",
        "return weights / total",
        "return weights",
        "flow/test_weights.py::test_a_weight_counts_like_repetitions[dtype0-ExactLinear-settings2]",
    ),
    "weights: λ adapted to the plain mean": Mutant(
        "snf_lite/geco.py",
        "part.example_weights = weights",
        "part.example_weights = None",
        "flow/test_weights.py::test_a_weight_counts_like_repetitions[dtype0-SelfNormLinear-settings1]",
    ),
}
