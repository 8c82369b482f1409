"""The checkers behind the book's exercises: each takes the reader's answer and says what is wrong with it.

One file a chapter. A checker never raises for what a reader writes: it gives a ``Verdict``, and a notebook shows its
words.
"""

from snf_lite.exercises.convolutional import check_convolutional_1, check_convolutional_2, check_convolutional_3
from snf_lite.exercises.convolutions import check_convolutions_1, check_convolutions_2, check_convolutions_3
from snf_lite.exercises.costs import check_costs_1, check_costs_2, check_costs_3
from snf_lite.exercises.densities import check_densities_1, check_densities_2, check_densities_3
from snf_lite.exercises.glow import check_glow_1, check_glow_2, check_glow_3
from snf_lite.exercises.gradient import check_gradient_1, check_gradient_2, check_gradient_3
from snf_lite.exercises.learned_inverse import check_learned_inverse_1, check_learned_inverse_2, check_learned_inverse_3
from snf_lite.exercises.mnist_dense import check_mnist_dense_1, check_mnist_dense_2, check_mnist_dense_3
from snf_lite.exercises.own_data import check_own_data_1, check_own_data_2, check_own_data_3
from snf_lite.exercises.pixels import check_pixels_1, check_pixels_2, check_pixels_3
from snf_lite.exercises.prior_work import check_prior_work_1, check_prior_work_2, check_prior_work_3
from snf_lite.exercises.results import check_results_1, check_results_2, check_results_3
from snf_lite.exercises.sampling import check_sampling_1, check_sampling_2, check_sampling_3
from snf_lite.exercises.two_dimensional import check_two_dimensional_1, check_two_dimensional_2, check_two_dimensional_3
from snf_lite.exercises.verdict import Verdict

__all__ = [
    "Verdict",
    "check_convolutional_1",
    "check_convolutional_2",
    "check_convolutional_3",
    "check_convolutions_1",
    "check_convolutions_2",
    "check_convolutions_3",
    "check_costs_1",
    "check_costs_2",
    "check_costs_3",
    "check_densities_1",
    "check_densities_2",
    "check_densities_3",
    "check_glow_1",
    "check_glow_2",
    "check_glow_3",
    "check_gradient_1",
    "check_gradient_2",
    "check_gradient_3",
    "check_learned_inverse_1",
    "check_learned_inverse_2",
    "check_learned_inverse_3",
    "check_mnist_dense_1",
    "check_mnist_dense_2",
    "check_mnist_dense_3",
    "check_own_data_1",
    "check_own_data_2",
    "check_own_data_3",
    "check_pixels_1",
    "check_pixels_2",
    "check_pixels_3",
    "check_prior_work_1",
    "check_prior_work_2",
    "check_prior_work_3",
    "check_results_1",
    "check_results_2",
    "check_results_3",
    "check_sampling_1",
    "check_sampling_2",
    "check_sampling_3",
    "check_two_dimensional_1",
    "check_two_dimensional_2",
    "check_two_dimensional_3",
]
