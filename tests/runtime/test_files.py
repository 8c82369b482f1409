"""Files are replaced atomically, keep their mode, and have one checksum."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from snf_lite.runtime import files


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.parametrize("mode", [0o755, 0o600])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "script"
    path.write_bytes(b"old")
    path.chmod(mode)
    files.atomic_write(path, b"new")
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == mode
    assert os.listdir(tmp_path) == ["script"]


def test_the_checksum_is_sha_256_of_the_bytes() -> None:
    content = bytes(range(256))
    assert files.sha256(content) == files.sha256(memoryview(content)) == hashlib.sha256(content).hexdigest()
