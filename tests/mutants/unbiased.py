"""The unbiased convolution: its estimate, its probes and what teaches its learned inverse."""

from mutation import Mutant

STEP = "snf_lite/linalg/unbiased_step.py"
MEAN = "beyond/test_unbiased.py::test_the_estimate_is_exact_in_the_mean_entry_by_entry[UnbiasedConv2d]"

MUTANTS: dict[str, Mutant] = {
    "unbiased: correction dropped": Mutant(
        STEP, "return toeplitz.flip(r) * counts + noise / len(probes)", "return toeplitz.flip(r) * counts", MEAN
    ),
    "unbiased: control variate dropped": Mutant(
        STEP, "return toeplitz.flip(r) * counts + noise / len(probes)", "return noise / len(probes)", MEAN
    ),
    "unbiased: solves with T(w) in place of its transpose": Mutant(
        STEP, "return convolve(y, w_flipped, functorch)", "return convolve(y, w, functorch)", MEAN
    ),
    "unbiased: signs not centered": Mutant(STEP, ".mul_(2).sub_(1)", ".mul_(2)", MEAN),
    "unbiased: BiCGStab adds its result to the first guess": Mutant(
        STEP,
        "images, residual, iterations = found.x - first,",
        "images, residual, iterations = found.x,",
        "beyond/test_unbiased.py::test_the_correction_solves_with_the_transposed_matrix[UnbiasedConv2d]",
    ),
    "unbiased: the penalty reaches the weight": Mutant(
        "snf_lite/beyond/unbiased.py",
        "wx = z.detach() - self.bias.detach()",
        "wx = z - self.bias",
        "beyond/test_unbiased.py::test_gradients_of_the_training_pass[UnbiasedConv2d-batch]",
    ),
    "unbiased: noise teaches the learned inverse downhill": Mutant(
        STEP,
        "(-2 / len(probes))",
        "(2 / len(probes))",
        "beyond/test_unbiased.py::test_gradients_of_the_training_pass[UnbiasedConv2d]",
    ),
}
