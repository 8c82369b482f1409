"""Wrong lines in the tracked inverse."""

from mutation import Mutant

LAYER = "snf_lite/beyond/tracked.py"
TESTS = "beyond/test_tracked.py::"
MUTANTS: dict[str, Mutant] = {
    "tracked: R multiplied from the wrong side": Mutant(
        "snf_lite/linalg/newton_schulz.py",
        "torch.addmm(R, R, E)",
        "torch.addmm(R, E, R)",
        f"{TESTS}test_an_iteration_squares_the_residual[0.3]",
    ),
    "tracked: the term counts once, whatever its weight": Mutant(
        "snf_lite/linalg/dense_steps.py",
        "x.to(ctx.dtype), grad_log_det.sum(), R)",
        "x.to(ctx.dtype), grad_log_det.sum().sign() * len(x), R)",
        f"{TESTS}test_all_gradients_are_the_exact_ones_where_R_is_the_inverse[TrackedLinear]",
    ),
    "tracked: a loop without after_step leaves R behind": Mutant(
        LAYER,
        "            if self._awaits_step:\n                self.after_step()",
        "            if self._awaits_step:\n                pass",
        f"{TESTS}test_a_loop_that_never_calls_after_step_trains_alike[False]",
    ),
    "tracked: a compiled loop leaves R behind": Mutant(
        LAYER,
        "        elif self._awaits_step:\n            self.after_step()",
        "        elif self._awaits_step:\n            pass",
        f"{TESTS}test_a_compiled_loop_that_never_calls_after_step",
    ),
    "tracked: the iteration goes on outside of its basin": Mutant(
        LAYER,
        "if inside else self._factorized(W)",
        "if inside or True else self._factorized(W)",
        f"{TESTS}test_a_step_out_of_the_basin_is_counted_told_once_and_set_right",
    ),
    "tracked: a written weight keeps its old inverse": Mutant(
        LAYER,
        "self._settle(WRITTEN if written else RESUMED)",
        "pass",
        f"{TESTS}test_a_weight_that_was_written_has_its_inverse_at_the_next_use[orthogonal]",
    ),
    "tracked: a new version of R in each update": Mutant(
        LAYER,
        "self.inverse_weight.data.copy_(R)",
        "self.inverse_weight.copy_(R)",
        f"{TESTS}test_two_passes_before_one_backward",
    ),
}
