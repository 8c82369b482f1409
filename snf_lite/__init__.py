"""Self-normalizing flows, the exact flows they are compared with, and what trains and evaluates both.

The theory in ten files, in the order in which to read them:

    layer                the interface of a layer: transform, inverse, surrogate
    chain                layers applied one after the other
    flow                 a chain and a base density: log_prob, loss, sample
    dense                SelfNormLinear, ExactLinear, RelativeGradientLinear
    conv                 SelfNormConv2d, ExactConv2d
    surrogate            the same for any differentiable f and g
    geco                 the reconstruction penalty, and how its weight is adapted
    models               the paper's models, by name
    linalg.dense_matrix  log|det W|, its gradient and solves from one factorization
    training.fit         the training loop

Other layers are in ``layers``, exact algebra in ``linalg``. Examples in docstrings assume ``import torch`` and
``import snf_lite as snf``.
"""

from typing import TYPE_CHECKING, Any

from snf_lite._version import __version__ as __version__
from snf_lite.beyond.free_form import FreeForm, ResidualFreeForm
from snf_lite.beyond.tracked import TrackedLinear
from snf_lite.beyond.unbiased import UnbiasedConv2d
from snf_lite.conv import ExactConv2d, SelfNormConv2d
from snf_lite.data.datasets import DataError, dataset_names, density_names, load, mixture_log_prob, sample_density
from snf_lite.data.image_folder import read_folder
from snf_lite.dense import ExactLinear, RelativeGradientLinear, SelfNormLinear
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.activations import SmoothLeakyReLU
from snf_lite.layers.conv_exponential import ConvExponential2d
from snf_lite.layers.coupling import AffineVectorCoupling, SplineVectorCoupling
from snf_lite.layers.emerging import EmergingConv2d
from snf_lite.layers.glow import ActNorm, AffineCoupling
from snf_lite.layers.lu import LULinear
from snf_lite.layers.preprocessing import Dequantize, Logit, Standardize, Whiten
from snf_lite.layers.reshape import Flatten, Squeeze
from snf_lite.layers.spline import RationalQuadraticSpline
from snf_lite.layers.split_prior import SplitPrior
from snf_lite.models import build, build_for, model_names
from snf_lite.runtime.checks import NotInvertibleError
from snf_lite.surrogate import self_norm_log_det
from snf_lite.training.checkpoints import CheckpointError, restore, save
from snf_lite.training.evaluation import Evaluation, evaluate
from snf_lite.training.fit import fit
from snf_lite.training.history import History, restore_history

if TYPE_CHECKING:
    from snf_lite.training.estimator import FlowDensity

# In the order in which a reader needs them.
# fmt: off
__all__ = [
    "build", "build_for", "model_names", "fit", "History", "evaluate", "Evaluation", "Flow", "save", "restore",
    "restore_history", "FlowDensity",
    "SelfNormLinear", "SelfNormConv2d", "ExactLinear", "ExactConv2d", "RelativeGradientLinear", "LULinear",
    "TrackedLinear", "UnbiasedConv2d",
    "EmergingConv2d", "ConvExponential2d", "SmoothLeakyReLU", "RationalQuadraticSpline",
    "AffineVectorCoupling", "SplineVectorCoupling", "FreeForm", "ResidualFreeForm",
    "ActNorm", "AffineCoupling", "SplitPrior", "Squeeze", "Flatten", "Dequantize", "Logit", "Whiten", "Standardize",
    "FlowLayer", "self_norm_log_det",
    "load", "dataset_names", "read_folder", "sample_density", "density_names", "mixture_log_prob",
    "NotInvertibleError", "CheckpointError", "DataError",
]
# fmt: on


def __getattr__(name: str) -> Any:
    """``FlowDensity`` when it is first used: scikit-learn takes a second to import."""
    if name != "FlowDensity":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from snf_lite.training.estimator import FlowDensity

    return FlowDensity
