"""snf_lite: self-normalizing flows, their exact twins, and what it takes to train and compare them."""

from . import exercises
from .activations import SmoothLeakyReLU
from .checkpoints import CheckpointError, restore, save
from .checks import NotInvertibleError
from .conv import ExactConv2d, SelfNormConv2d
from .datasets import DataError, dataset_names, density_names, load, mixture_log_prob, sample_density
from .dense import ExactLinear, RelativeGradientLinear, SelfNormLinear
from .emerging import EmergingConv2d
from .evaluation import Result, evaluate
from .exponential import ConvExponential2d
from .flow import Flow
from .folder import read_folder
from .front import Standardize, Whiten
from .general import self_norm_log_det
from .glow import ActNorm, AffineCoupling, SplitPrior
from .history import History
from .images import Dequantize, Flatten, Logit, Squeeze
from .layer import FlowLayer
from .lu import LULinear
from .models import build, model_names
from .spline import RationalQuadraticSpline
from .train import fit

__version__ = "0.1.0"

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "CheckpointError",
    "ConvExponential2d",
    "DataError",
    "Dequantize",
    "EmergingConv2d",
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
    "Result",
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
    "exercises",
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
