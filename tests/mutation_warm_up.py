"""Imported by the process that forks a child for each mutant: loads what the tests load, then forgets the project."""

import io
import os
import sys
from contextlib import redirect_stdout

from mutation import OPTIONS, ROOT, TESTS, forget_project

sys.path[:0] = [str(ROOT), str(TESTS), str(ROOT / "book")]
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the tests need none, and loading them takes a second

import hypothesis  # noqa: E402, F401
import pytest  # noqa: E402
import torch.utils.checkpoint  # noqa: E402, F401
from torch import _dynamo  # noqa: E402, F401  # checkpoints and transforms load it at their first use

with redirect_stdout(io.StringIO()):
    pytest.main([*OPTIONS, "--collect-only", str(TESTS / "test_layers.py")])
forget_project()
