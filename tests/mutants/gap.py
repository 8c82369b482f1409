"""The study of where the gap comes from."""

from mutation import Mutant

LAYERS, LINE, TESTS = (
    "book/snf_book/beyond/layers.py", "book/snf_book/beyond/line.py", "chapters/test_where_the_gap_comes_from.py"
)  # fmt: skip
MUTANTS: dict[str, Mutant] = {
    "gap: the penalty acts on W where it should not": Mutant(
        LAYERS,
        "(W if self.weight_penalized else W.detach())",
        "W",
        f"{TESTS}::test_the_gradients_follow_the_formula[learned-False-True]",
    ),
    "gap: a correction with its sign turned": Mutant(
        LAYERS,
        "torch.linalg.solve(W.T, v) - R.T @ v, v)",
        "R.T @ v - torch.linalg.solve(W.T, v), v)",
        f"{TESTS}::test_the_correction_has_the_mean_of_the_exact_inverse_and_leaves_the_noise_of_the_data",
    ),
    "gap: R without its own likelihood": Mutant(
        LAYERS,
        "if self.likelihood:",
        "if False:",
        f"{TESTS}::test_its_ends_are_the_layers_of_the_package",
    ),
    "gap: rates without the pull of the inputs": Mutant(
        LINE,
        "(1 + mean_square**2)",
        "(1 + mean_square)",
        f"{TESTS}::test_the_rates_are_those_of_the_layer_on_the_line[5.0-0.1-True]",
    ),
}
