"""Activations, splines, and what stands in front of a model of images."""

from mutation import Mutant

MUTANTS: dict[str, Mutant] = {
    "leaky: slope of the other side": Mutant(
        "snf_lite/layers/activations.py",
        "(1 - self.alpha) * sigmoid(x)",
        "(1 - self.alpha) * sigmoid(-x)",
        "theory/test_layers.py::test_log_det_gradient_reaches_the_input[SmoothLeakyReLU]",
    ),
    "leaky: log-det doubled": Mutant(
        "snf_lite/layers/activations.py",
        "self.slope(x).log().flatten(1).sum(1)",
        "2 * self.slope(x).log().flatten(1).sum(1)",
        "theory/test_layers.py::test_log_det_gradient_reaches_the_input[SmoothLeakyReLU]",
    ),
    "leaky: one Newton step": Mutant(
        "snf_lite/layers/activations.py",
        "self.newton(z, self.newton_steps)",
        "self.newton(z, 1)",
        "theory/test_layers.py::test_exact_inverse_round_trips[SmoothLeakyReLU-image]",
    ),
    "spline: factor of the log-slope": Mutant(
        "snf_lite/layers/spline.py",
        "2 * mean.log()",
        "mean.log()",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[RationalQuadraticSpline-2-bins]",
    ),
    "spline: no tails": Mutant(
        "snf_lite/layers/spline.py",
        "torch.where(inside, log_slope, 0.0)",
        "log_slope",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[RationalQuadraticSpline-2-bins]",
    ),
    "spline: other root": Mutant(
        "snf_lite/layers/spline.py",
        "(-2 * c / (b + root))",
        "(-2 * c / (b - root))",
        "theory/test_layers.py::test_exact_inverse_round_trips[RationalQuadraticSpline-2-bins]",
    ),
    "spline: fused log-slope with its sign turned": Mutant(
        "snf_lite/layers/spline_fused.py",
        "slope.log().mul_",
        "slope.log().neg_().mul_",
        "theory/test_layers.py::test_training_pass_maps_like_the_exact_one[RationalQuadraticSpline-2-bins]",
    ),
    "spline: fused pass without tails": Mutant(
        "snf_lite/layers/spline_fused.py",
        "grad_x = torch.sub(grad_z, inner_z).add_",
        "grad_x = 0 + ",
        "theory/test_layers.py::test_training_pass_sends_the_exact_gradient_to_the_input[RationalQuadraticSpline-2-bins]",
    ),
    "spline: fused gradients beyond the bound": Mutant(
        "snf_lite/layers/spline_fused.py",
        "inside * grad_log_det[:, None]",
        "0 * inside + grad_log_det[:, None]",
        "theory/test_layers.py::test_training_pass_sends_the_exact_gradient_to_the_input[RationalQuadraticSpline-2-bins]",
    ),
    "spline: fused log-slope's gradient halved": Mutant(
        "snf_lite/layers/spline_fused.py",
        "add_(log_slope, alpha=2)",
        "add_(log_slope)",
        "theory/test_layers.py::test_training_pass_sends_the_exact_gradient_to_the_input[RationalQuadraticSpline-2-bins]",
    ),
    "spline: sign of the fused gradient of x0": Mutant(
        "snf_lite/layers/spline_fused.py",
        "factors[0], factors[2] = -1, 1",
        "factors[0], factors[2] = 1, 1",
        "layers/test_spline.py::test_gradients_are_those_of_finite_differences[2]",
    ),
    "spline: fused sums in the wrong bin": Mutant(
        "snf_lite/layers/spline_fused.py",
        "pad(beyond[:, 1:], (0, 0, 0, 1))",
        "pad(beyond[:, :-1], (0, 0, 1, 0))",
        "layers/test_spline.py::test_gradients_are_those_of_finite_differences[2]",
    ),
    "spline: fused gradients for all bins beyond": Mutant(
        "snf_lite/layers/spline_fused.py",
        "return beyond - pad(beyond[:, 1:], (0, 0, 0, 1))",
        "return beyond",
        "layers/test_spline.py::test_gradients_are_those_of_finite_differences[2]",
    ),
    "spline: fused heights without the log-slope": Mutant(
        "snf_lite/layers/spline_fused.py",
        "torch.mul(tall, part, out=to_height).add_(grad_log)",
        "torch.mul(tall, part, out=to_height)",
        "layers/test_spline.py::test_gradients_are_those_of_finite_differences[2]",
    ),
    "spline: fused slopes exchanged": Mutant(
        "snf_lite/layers/spline_fused.py",
        "d0, d1 = numbers.unbind(0)",
        "d1, d0 = numbers.unbind(0)",
        "theory/test_layers.py::test_training_pass_maps_like_the_exact_one[RationalQuadraticSpline-2-bins]",
    ),
    "spline: axes of the parameters as if channels came first": Mutant(
        "snf_lite/layers/spline.py",
        "self._table(axes)",
        "self._table(list(range(x.dim() - 1)))",
        "layers/test_spline.py::test_every_layout_gives_the_same_and_the_usual_two_are_kept[3-channels last]",
    ),
    "dequantize: one number an event": Mutant(
        "snf_lite/layers/preprocessing.py",
        "-math.prod(x.shape[1:]) * math",
        "-math",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[Dequantize]",
    ),
    "logit: missing term": Mutant(
        "snf_lite/layers/preprocessing.py",
        "math.log(squeeze) - log_p - log_q",
        "-log_p - log_q",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[Logit]",
    ),
    "logit: sign": Mutant(
        "snf_lite/layers/preprocessing.py",
        "math.log(squeeze) - log_p - log_q",
        "log_p + log_q - math.log(squeeze)",
        "theory/test_layers.py::test_log_det_gradient_reaches_the_input[Logit]",
    ),
    "squeeze: rows and columns exchanged on the way back": Mutant(
        "snf_lite/layers/reshape.py",
        "permute(0, 1, 4, 2, 5, 3)",
        "permute(0, 1, 4, 3, 5, 2)",
        "theory/test_layers.py::test_exact_inverse_round_trips[Squeeze]",
    ),
    "vector coupling: sign of the log-det": Mutant(
        "snf_lite/layers/coupling.py",
        "log_slope.sum(1)",
        "-log_slope.sum(1)",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[SplineVectorCoupling]",
    ),
    "vector coupling: log-det without the 2": Mutant(
        "snf_lite/layers/coupling.py",
        "return log_scale.exp() * (x + shift), log_scale",
        "return log_scale.exp() * (x + shift), log_scale / 2",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[AffineVectorCoupling]",
    ),
    "vector coupling: the net sees the half that it changes": Mutant(
        "snf_lite/layers/coupling.py",
        "return (last, first) if self.flip else (first, last)",
        "return (first, last) if self.flip else (last, first)",
        "theory/test_layers.py::test_exact_inverse_round_trips[AffineVectorCoupling-flip]",
    ),
    "vector coupling: halves put back in the other order": Mutant(
        "snf_lite/layers/coupling.py",
        "[others, given] if self.flip else [given, others]",
        "[given, others]",
        "theory/test_layers.py::test_exact_inverse_round_trips[AffineVectorCoupling-flip]",
    ),
    "vector coupling: inverse shifted with the sign turned": Mutant(
        "snf_lite/layers/coupling.py",
        "* (-log_scale).exp() - shift",
        "* (-log_scale).exp() + shift",
        "theory/test_layers.py::test_exact_inverse_round_trips[AffineVectorCoupling]",
    ),
    "standardize: a constant column divided by zero": Mutant(
        "snf_lite/layers/preprocessing.py",
        "deviation > rounding, deviation, 1.0",
        "deviation >= 0, deviation, 1.0",
        "training/test_models.py::test_a_constant_column_is_only_centered",
    ),
    "models: couplings that all change the same half": Mutant(
        "snf_lite/models/architectures.py",
        "flip=index % 2 == 1",
        "flip=False",
        "training/test_models.py::test_couplings_are_mixed_by_dense_layers_of_a_kind[None-None]",
    ),
    "models: tables not standardized": Mutant(
        "snf_lite/models/architectures.py",
        "    if standardize:",
        "    if not standardize:",
        "training/test_models.py::test_standardize_can_be_left_out[spline-exact]",
    ),
}
