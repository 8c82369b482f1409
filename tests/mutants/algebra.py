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
        "and comparable and torch.equal(cast(Tensor, kept), weight)",
        "and comparable",
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
    "krylov: residual of the recursion believed": Mutant(
        "snf_lite/linalg/krylov.py",
        "again = rhs - apply(x)\n        now = norms(again)\n        better = now < left",
        "again = 0 * rhs\n        now = norms(again)\n        better = now < left",
        "linalg/test_krylov.py::test_a_residual_that_the_recursion_lost_is_found_again",
    ),
    "krylov: one step size for all rows": Mutant(
        "snf_lite/linalg/krylov.py",
        "return (a * b).sum(tuple(range(1, a.dim())), keepdim=True)",
        "return (a * b).sum().expand(len(a), *[1] * (a.dim() - 1))",
        "linalg/test_krylov.py::test_rows_are_independent",
    ),
    "krylov: refinement never ends": Mutant(
        "snf_lite/linalg/krylov.py",
        "if not bool((now <= CONTRACTION * left).all()):",
        "if not bool((now <= CONTRACTION * left).all()) and False:",
        "layers/test_exact_by_iteration.py::test_refinement_hands_over_to_bicgstab_where_it_contracts_slowly",
    ),
    "convolution: a solve that missed is taken": Mutant(
        "snf_lite/linalg/convolution.py",
        "if bool((solution.residuals <= ACCEPTED[b.dtype]).all()):",
        "if len(solution.residuals):",
        "layers/test_exact_by_iteration.py::test_a_bad_learned_inverse_is_reported_once_and_the_elimination_takes_over",
    ),
    "convolution: gradient of a solve not transposed": Mutant(
        "snf_lite/linalg/convolution.py",
        "u = Solve.apply(grad, toeplitz.flip(w), toeplitz.flip(r), ctx",
        "u = Solve.apply(grad, w, r, ctx",
        "layers/test_exact_by_iteration.py::test_gradients_are_those_of_the_elimination_twice_too",
    ),
}
