"""Glow's layers, chains of layers, and the tolerance that adapts the reconstruction weight."""

from mutation import Mutant

MUTANTS: dict[str, Mutant] = {
    "actnorm: sign of the log-det": Mutant(
        "layers/glow.py",
        "* self.log_scale.sum())",
        "* -self.log_scale.sum())",
        "test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[ActNorm-image]",
    ),
    "actnorm: one pixel counted": Mutant(
        "layers/glow.py",
        "(math.prod(x.shape[2:]) * self.log",
        "(1 * self.log",
        "test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[ActNorm-image]",
    ),
    "actnorm: shift not scaled": Mutant(
        "layers/glow.py",
        "self._placed(scale * self.bias, x)",
        "self._placed(self.bias, x)",
        "test_layers.py::test_exact_inverse_round_trips[ActNorm-image]",
    ),
    "actnorm: starts at the mean with its sign turned": Mutant(
        "layers/glow.py",
        "copy_(-numbers.mean(1))",
        "copy_(numbers.mean(1))",
        "test_glow.py::test_a_channel_that_does_not_vary_is_only_centred",
    ),
    "actnorm: starts with the deviation itself": Mutant(
        "layers/glow.py",
        "copy_(-torch.where(",
        "copy_(torch.where(",
        "test_glow.py::test_initialised_channels_have_mean_zero_and_variance_one[shape1]",
    ),
    "actnorm: infinite scale of what does not vary": Mutant(
        "layers/glow.py",
        "deviations > NO_DEVIATION",
        "deviations > -1",
        "test_glow.py::test_a_channel_that_does_not_vary_is_only_centred",
    ),
    "coupling: log-det without the 2": Mutant(
        "layers/glow.py",
        "log_scale.sum((1, 2, 3))\n\n    def inv",
        "log_scale.sum((1, 2, 3)) / 2\n\n    def inv",
        "test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[AffineCoupling-odd]",
    ),
    "coupling: sign of the log-det": Mutant(
        "layers/glow.py",
        "1), log_scale.sum((1, 2, 3))",
        "1), -log_scale.sum((1, 2, 3))",
        "test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[AffineCoupling-odd]",
    ),
    "coupling: scale of half its range": Mutant(
        "layers/glow.py",
        "return 2 * torch.tanh(h / 2), shift",
        "return torch.tanh(h / 2), shift",
        "test_glow.py::test_coupling_is_its_formula",
    ),
    "coupling: shifted after scaling": Mutant(
        "layers/glow.py",
        "log_scale.exp() * (others + shift)",
        "log_scale.exp() * others + shift",
        "test_layers.py::test_exact_inverse_round_trips[AffineCoupling-odd]",
    ),
    "coupling: the net sees the half that it changes": Mutant(
        "layers/glow.py",
        "x[:, : self.given], x[:, self.given :]",
        "x[:, self.changed :], x[:, : self.changed]",
        "test_layers.py::test_exact_inverse_round_trips[AffineCoupling]",
    ),
    "coupling: zeros shared by two parameters": Mutant(
        "layers/glow.py",
        "self.log_scale = nn.Parameter(torch.zeros(outputs))",
        "self.log_scale = nn.Parameter(self.bias.data)",
        "test_layers.py::test_shapes_and_dtypes[dtype0-SplitPrior-learned]",
    ),
    "coupling: end of the net scaled by exp(l)": Mutant(
        "layers/glow.py",
        "(3 * self.log_scale).exp()",
        "self.log_scale.exp()",
        "test_glow.py::test_coupling_is_its_formula",
    ),
    "coupling: bias left unscaled": Mutant(
        "layers/glow.py",
        "scale * self.bias, padding=1",
        "self.bias, padding=1",
        "test_glow.py::test_coupling_is_its_formula",
    ),
    "split: sign of the prior's log-det": Mutant(
        "layers/glow.py",
        "(-log_deviation).exp(), -log_deviation.sum",
        "(-log_deviation).exp(), log_deviation.sum",
        "test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[SplitPrior-odd]",
    ),
    "split: multiplied by σ": Mutant(
        "layers/glow.py",
        "- mean) * (-log_deviation).exp()",
        "- mean) * log_deviation.exp()",
        "test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[SplitPrior-odd]",
    ),
    "split: mean added": Mutant(
        "layers/glow.py",
        "(others - mean) *",
        "(others + mean) *",
        "test_layers.py::test_exact_inverse_round_trips[SplitPrior-odd]",
    ),
    "split: log-det of the layers left out": Mutant(
        "layers/glow.py",
        "1), inner + log_det\n",
        "1), 0 * inner + log_det\n",
        "test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[SplitPrior-odd]",
    ),
    "split: term of the layers left out": Mutant(
        "layers/glow.py",
        "inner + log_det, penalty",
        "0 * inner + log_det, penalty",
        "test_layers.py::test_training_pass_maps_like_the_exact_one[SplitPrior-odd]",
    ),
    "split: penalties dropped": Mutant(
        "layers/glow.py",
        "inner + log_det, penalty",
        "inner + log_det, None",
        "test_layers.py::test_training_pass_maps_like_the_exact_one[SplitPrior-learned]",
    ),
    "split: halves exchanged in the code": Mutant(
        "layers/glow.py",
        "torch.cat([z.flatten(1), residue.flatten(1)], 1), inner + log_det\n",
        "torch.cat([residue.flatten(1), z.flatten(1)], 1), inner + log_det\n",
        "test_layers.py::test_exact_inverse_round_trips[SplitPrior-odd]",
    ),
    "split: the layers inverted exactly always": Mutant(
        "layers/glow.py",
        "self._inner_shape(shape)), exact)",
        "self._inner_shape(shape)), True)",
        "test_glow.py::test_reconstruction_goes_through_the_learned_inverses_behind_the_split",
    ),
    "split: layers initialized from the other half": Mutant(
        "layers/glow.py",
        "self.prepare(self.halves(x)[0]",
        "self.prepare(self.halves(x)[1]",
        "test_glow.py::test_what_a_flow_asks_of_its_layers_reaches_those_behind_the_split",
    ),
    "row: layers initialized from the flow's input": Mutant(
        "chain.py",
        "            if index:\n",
        "            if False:\n",
        "test_glow.py::test_each_normalisation_of_a_model_sees_its_own_inputs[glow-exact]",
    ),
    "row: penalties overwritten": Mutant(
        "chain.py",
        "cost if penalty is None else penalty + cost",
        "cost",
        "test_glow.py::test_penalties_behind_the_split_are_summed",
    ),
    "row: layers not adapted": Mutant(
        "chain.py",
        "layer.adapt()",
        "layer",
        "test_glow.py::test_what_a_flow_asks_of_its_layers_reaches_those_behind_the_split",
    ),
    "row: layers remember": Mutant(
        "chain.py",
        "layer.forget()",
        "layer",
        "test_glow.py::test_what_a_flow_asks_of_its_layers_reaches_those_behind_the_split",
    ),
    "row: labels without those around": Mutant(
        "chain.py", 'f"{prefix}layers[', 'f"layers[', "test_glow.py::test_a_layer_behind_the_split_is_named"
    ),
    "orthogonal: R as W itself": Mutant(
        "layers/glow.py",
        "copy_(toeplitz.flip(layer.weight))",
        "copy_(layer.weight)",
        "test_glow.py::test_convolutions_start_orthogonal_and_with_their_inverse[1]",
    ),
    "orthogonal: added to the identity": Mutant(
        "layers/glow.py",
        "noise = layer.weight - identity if",
        "noise = layer.weight if",
        "test_glow.py::test_convolutions_start_orthogonal_and_with_their_inverse[3]",
    ),
    "geco: sign": Mutant(
        "geco.py",
        "(RATE * above).exp()",
        "(-RATE * above).exp()",
        "test_geco.py::test_weight_and_average_follow_the_formula[0.25-convolution-shape1]",
    ),
    "geco: without the tolerance": Mutant(
        "geco.py",
        "self.average / self.tolerance - 1",
        "self.average",
        "test_geco.py::test_weight_and_average_follow_the_formula[0.25-convolution-shape1]",
    ),
    "geco: the latest error in place of the average": Mutant(
        "geco.py",
        "lerp_(self.latest, 1 - DECAY)",
        "copy_(self.latest)",
        "test_geco.py::test_weight_and_average_follow_the_formula[0.9-dense-shape0]",
    ),
    "geco: average decays too fast": Mutant(
        "geco.py",
        "self.latest, 1 - DECAY",
        "self.latest, DECAY",
        "test_geco.py::test_weight_and_average_follow_the_formula[0.9-dense-shape0]",
    ),
    "geco: λ without a bound": Mutant(
        "geco.py",
        ".clamp_(self.start / FURTHEST, self.start * FURTHEST)",
        "",
        "test_geco.py::test_a_step_of_the_weight_is_bounded_and_so_is_the_weight",
    ),
    "geco: unbounded step": Mutant(
        "geco.py", ".clamp_max(1.0)", "", "test_geco.py::test_a_step_of_the_weight_is_bounded_and_so_is_the_weight"
    ),
    "geco: λ squared": Mutant(
        "geco.py",
        "return self.weight * errors",
        "return self.weight.square() * errors",
        "test_geco.py::test_weight_and_average_follow_the_formula[0.9-dense-shape0]",
    ),
    "geco: average forgotten by checkpoints": Mutant(
        "geco.py",
        '"average", torch.tensor(self.tolerance))',
        '"average", torch.tensor(self.tolerance), persistent=False)',
        "test_geco.py::test_without_a_tolerance_nothing_is_there[convolution-shape1]",
    ),
    "geco: a sum over the batch": Mutant(
        "geco.py",
        "errors.detach().mean()",
        "errors.detach().sum()",
        "test_geco.py::test_weight_and_average_follow_the_formula[0.9-dense-shape0]",
    ),
    "geco: convolutions not adapted": Mutant(
        "conv.py",
        "self.adapted.adapt()",
        "self.adapted",
        "test_geco.py::test_weight_and_average_follow_the_formula[1.5-convolution-shape1]",
    ),
}
