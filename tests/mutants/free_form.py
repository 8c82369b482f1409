"""Free-form layers and the corrected gradient of any two networks."""

from mutation import Mutant

SURROGATE, LAYER = "snf_lite/surrogate.py", "snf_lite/beyond/free_form.py"
THEORY, LAYERS = "theory/test_surrogate.py::", "beyond/test_free_form.py::"

MUTANTS: dict[str, Mutant] = {
    "free-form: J_g stays in place of the inverse": Mutant(
        SURROGATE,
        "given = (directions,) if weights is None else",
        "given = (directions,) if True else",
        THEORY + "test_corrected_the_gradient_is_that_of_log_det_whatever_g_is[0]",
    ),
    "free-form: eliminated without the transpose": Mutant(
        SURROGATE,
        "matrices = jacobian(f, x[far], label)[1].mT",
        "matrices = jacobian(f, x[far], label)[1]",
        THEORY + "test_where_the_iteration_ends_early_the_data_points_are_eliminated",
    ),
    "free-form: unsolved data points keep their iterate": Mutant(
        SURROGATE,
        "    if unsolved and math.prod(point)",
        "    if False and math.prod(point)",
        THEORY + "test_where_the_iteration_ends_early_the_data_points_are_eliminated",
    ),
    "free-form: the reconstruction always trains f": Mutant(
        LAYER,
        "if self.penalize_f or back is None:",
        "if True:",
        LAYERS + "test_the_penalty_trains_f_only_where_it_is_asked_to[False-None]",
    ),
    "free-form: the inverse has no gradient by parameters": Mutant(
        LAYER,
        "(z - z_again).flatten(1)",
        "(z - z_again.detach()).flatten(1)",
        "theory/test_layers.py::test_exact_inverse_has_the_inverse_parameter_gradient[ResidualFreeForm]",
    ),
    "free-form: a fold is not told": Mutant(
        LAYER,
        "if 0 < negative < len(signs):",
        "if negative == len(signs):",
        LAYERS + "test_a_map_that_folds_is_told_once_and_integrates_to_the_number_of_preimages",
    ),
}
