"""snf_lite: self-normalizing flows, their exact twins, and what it takes to train and compare them."""

from .activations import RationalQuadraticSpline, SmoothLeakyReLU
from .checks import NotInvertibleError
from .conv import ExactConv2d, SelfNormConv2d
from .dense import ExactLinear, RelativeGradientLinear, SelfNormLinear
from .flow import Flow, FlowLayer
from .general import self_norm_log_det
from .images import Dequantize, Flatten, Logit, Squeeze
from .models import build, model_names

__version__ = "0.1.0"

__all__ = [
    "Dequantize",
    "ExactConv2d",
    "ExactLinear",
    "Flatten",
    "Flow",
    "FlowLayer",
    "Logit",
    "NotInvertibleError",
    "RationalQuadraticSpline",
    "RelativeGradientLinear",
    "SelfNormConv2d",
    "SelfNormLinear",
    "SmoothLeakyReLU",
    "Squeeze",
    "build",
    "model_names",
    "self_norm_log_det",
]
