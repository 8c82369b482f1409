"""snf_lite: self-normalizing flows, their exact twins, and what it takes to train and compare them."""

from snf_lite.conv import ExactConv2d, SelfNormConv2d
from snf_lite.data.datasets import DataError, dataset_names, density_names, load, mixture_log_prob, sample_density
from snf_lite.data.image_folder import read_folder
from snf_lite.dense import ExactLinear, RelativeGradientLinear, SelfNormLinear
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.activations import SmoothLeakyReLU
from snf_lite.layers.conv_exponential import ConvExponential2d
from snf_lite.layers.emerging import EmergingConv2d
from snf_lite.layers.glow import ActNorm, AffineCoupling
from snf_lite.layers.lu import LULinear
from snf_lite.layers.preprocessing import Dequantize, Logit, Standardize, Whiten
from snf_lite.layers.reshape import Flatten, Squeeze
from snf_lite.layers.spline import RationalQuadraticSpline
from snf_lite.layers.split_prior import SplitPrior
from snf_lite.models import build, model_names
from snf_lite.runtime.checks import NotInvertibleError
from snf_lite.surrogate import self_norm_log_det
from snf_lite.training.checkpoints import CheckpointError, restore, save
from snf_lite.training.evaluation import Evaluation, evaluate
from snf_lite.training.fit import fit
from snf_lite.training.history import History

__version__ = "0.1.0"

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "CheckpointError",
    "ConvExponential2d",
    "DataError",
    "Dequantize",
    "EmergingConv2d",
    "Evaluation",
    "ExactConv2d",
    "ExactLinear",
    "Flatten",
    "Flow",
    "FlowLayer",
    "History",
    "LULinear",
    "Logit",
    "NotInvertibleError",
    "RationalQuadraticSpline",
    "RelativeGradientLinear",
    "SelfNormConv2d",
    "SelfNormLinear",
    "SmoothLeakyReLU",
    "SplitPrior",
    "Squeeze",
    "Standardize",
    "Whiten",
    "build",
    "dataset_names",
    "density_names",
    "evaluate",
    "fit",
    "load",
    "mixture_log_prob",
    "model_names",
    "read_folder",
    "restore",
    "sample_density",
    "save",
    "self_norm_log_det",
]
