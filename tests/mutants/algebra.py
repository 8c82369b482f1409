"""Log-determinants and inverses of dense and block-banded matrices, and what is cached of them."""

from mutation import Mutant

MUTANTS: dict[str, Mutant] = {
    "linear: sign of log|det|": Mutant(
        "snf_lite/linalg/dense_matrix.py",
        ".abs().log().sum(-1), lu",
        ".abs().log().sum(-1).neg(), lu",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[SelfNormLinear-1]",
    ),
    "linear: gradient is the inverse, not transposed": Mutant(
        "snf_lite/linalg/dense_matrix.py",
        "left=False, adjoint=True",
        "left=False, adjoint=False",
        "theory/test_layers.py::test_log_det_gradient_is_that_of_the_autograd_jacobian[SelfNormLinear-gaussian]",
    ),
    "linear: stale remembered factorisation": Mutant(
        "snf_lite/linalg/dense_matrix.py",
        "or not comparable or not torch.equal(cast(Tensor, kept), weight)",
        "or not comparable",
        "theory/test_layer_refusals.py::"
        "test_remembered_factorisations_notice_a_changed_weight[in place-SelfNormLinear-1]",
    ),
    "toeplitz: first block forgotten": Mutant(
        "snf_lite/linalg/cyclic_reduction.py",
        "= self.pivot.log_abs_det + self",
        "= 0 * self.pivot.log_abs_det + self",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[SelfNormConv2d-gaussian]",
    ),
    "toeplitz: one eliminated row counted": Mutant(
        "snf_lite/linalg/cyclic_reduction.py",
        "self.count * self.pivot.log",
        "self.pivot.log",
        "theory/test_layers.py::test_log_det_is_that_of_the_autograd_jacobian[SelfNormConv2d-gaussian]",
    ),
    "toeplitz: sign of the gradient": Mutant(
        "snf_lite/linalg/toeplitz.py",
        "None, None] * gradients",
        "None, None] * -gradients",
        "linalg/test_toeplitz.py::test_log_det_and_gradient_are_those_of_the_dense_matrix[shape0-gaussian]",
    ),
    "toeplitz: gradient without the eliminated": Mutant(
        "snf_lite/linalg/cyclic_reduction.py",
        "Blocks(D + gone, E, left_U",
        "Blocks(D, E, left_U",
        "linalg/test_toeplitz.py::test_log_det_and_gradient_are_those_of_the_dense_matrix[shape0-gaussian]",
    ),
    "toeplitz: safeguard left out": Mutant(
        "snf_lite/linalg/toeplitz.py",
        "RESIDUAL_BOUND = 1e-11",
        "RESIDUAL_BOUND = 1e300",
        "linalg/test_toeplitz.py::test_the_safeguard_has_second_derivatives_too",
    ),
    "toeplitz: mirrored columns": Mutant(
        "snf_lite/linalg/block_tridiagonal.py",
        ".flip(-4, -3)",
        ".flip(-4)",
        "theory/test_surrogate_gradients.py::test_fused_step_equals_the_readable_lines[SelfNormConv2d]",
    ),
    "toeplitz: 1×1 counts one pixel": Mutant(
        "snf_lite/linalg/toeplitz.py",
        "return height * width * dense_matrix",
        "return height * dense_matrix",
        "linalg/test_toeplitz.py::test_log_det_and_gradient_are_those_of_the_dense_matrix[shape5-gaussian]",
    ),
}
