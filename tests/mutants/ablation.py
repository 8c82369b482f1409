"""What the branches of a fork compare."""

from mutation import Mutant

MUTANTS: dict[str, Mutant] = {
    "ablate: exact volume twice over": Mutant(
        "snf_lite/experiments/ablation.py",
        "- 0.5 * sum(corrections)",
        "- 1.0 * sum(corrections)",
        "experiments/test_ablation.py::test_the_exact_volume_replaces_the_stand_in_and_nothing_else[SelfNormLinear-gaussian]",
    ),
    "ablate: λ as it was": Mutant(
        "snf_lite/experiments/ablation.py",
        "*= branch.factor",
        "*= 1",
        "experiments/test_ablation.py::test_all_branches_start_from_one_flow_and_part",
    ),
    "ablate: exact branch follows the stand-in": Mutant(
        "snf_lite/experiments/ablation.py",
        "-flow.log_prob(x).mean()",
        "flow.loss(x)",
        "experiments/test_ablation.py::test_the_exact_branch_is_that_of_the_exact_twin",
    ),
    "ablate: sum in place of the error": Mutant(
        "snf_lite/analysis/learned_inverse.py",
        "(guess - exact).norm()",
        "(guess + exact).norm()",
        "experiments/test_ablation.py::test_volume_errors_compare_what_stands_in_for_the_inverse[SelfNormLinear-gaussian]",
    ),
}
