"""What the machine is told about memory."""

import subprocess
import sys

import pytest

#: Page faults of buffers that are freed and asked for again, in a process of their own.
FAULTS = """
import resource, torch
from snf_lite.runtime.devices import tune_malloc
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
plain = faults()
kept = tune_malloc()
faults()
print(kept, plain, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can be told")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    said = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout.split()
    if said[0] == "False":
        pytest.skip("the C library is not glibc")
    before, after = map(int, said[1:])
    assert before > 1000 and after < before / 100
