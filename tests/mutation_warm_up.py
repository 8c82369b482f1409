"""Imported by the process that forks a child for each mutant: loads what the tests load, then forgets the project."""

import io
from contextlib import redirect_stdout

from mutation import OPTIONS, TESTS, find_project, forget_project

find_project()

import hypothesis  # noqa: E402, F401
import pytest  # noqa: E402
import torch.utils.checkpoint  # noqa: E402, F401
from torch import _dynamo  # noqa: E402, F401  # checkpoints and transforms load it at their first use

with redirect_stdout(io.StringIO()):
    pytest.main([*OPTIONS, "--collect-only", str(TESTS / "theory/test_layers.py")])
forget_project()
