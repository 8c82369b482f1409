"""``make gpu`` without a GPU: its plan is one that the command line takes, and what is finished is kept."""

import json
import shlex
from pathlib import Path

import gpu
import pytest
from gpu import Part, plan

from snf_lite.cli import _parser
from snf_lite.runtime.devices import choose_device


def python(code: str) -> Part:
    return Part(code.split("#")[-1].strip(), ("-c", code))


def test_the_command_line_takes_every_part_and_their_times_fit(tmp_path: Path) -> None:
    parts = plan(15, "cpu", "mnist", tmp_path)
    tests, *commands = (list(part.arguments) for part in parts)
    assert tests[:2] == ["-m", "pytest"] and "gpu" in tests
    seconds = 0.0
    for arguments in commands:
        assert arguments[:2] == ["-m", "snf_lite"]
        asked = _parser().parse_args(arguments[2:])
        assert asked.device == "cpu" and asked.out == tmp_path
        seconds += 60 * asked.minutes if "reproduce" in arguments else asked.seconds
    assert 0.75 * 15 * 60 < seconds < 0.9 * 15 * 60


def test_what_is_finished_is_not_done_again_and_what_failed_is(tmp_path: Path) -> None:
    parts = [python(f"open({str(tmp_path / 'log')!r}, 'a').write('x') # good"), python("raise SystemExit(3) # bad")]
    first, again = (gpu.run(parts, 1, tmp_path) for _ in range(2))
    assert first == {"good": "finished", "bad": "failed with status 3: see above"}
    assert again == {"good": "finished before", "bad": "failed with status 3: see above"}
    assert (tmp_path / "log").read_text("utf-8") == "x"
    assert list(json.loads((tmp_path / gpu.STATE).read_text("utf-8"))) == ["good"]
    other = [Part("good", ("-c", "print(1)"))]
    assert gpu.run(other, 1, tmp_path) == {"good": "finished"}, "with other arguments it is another part"


def test_a_part_that_takes_too_long_is_cut_off_and_none_is_begun_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "LEAST", 0.5)
    parts = [python("import time; time.sleep(60) # slow"), python("print() # late")]
    found = gpu.run(parts, 1 / 60, tmp_path)
    assert found == {"slow": "cut off: give the command again to resume it", "late": "not begun: no time left"}
    assert not (tmp_path / gpu.STATE).exists()


def test_without_the_device_nothing_is_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["gpu.py", "--device", "cuda:7"])
    monkeypatch.setattr(gpu, "run", lambda *_: pytest.fail("something was run"))
    with pytest.raises(SystemExit, match=r"got 'cuda:7'.*Nothing was run"):
        gpu.main()


def test_the_whole_command_says_what_became_of_each_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", shlex.split(f"gpu.py --device cpu --minutes 1 --out {tmp_path}"))
    monkeypatch.setattr(gpu, "plan", lambda *_: [python("print('here') # good"), python("1/0 # bad")])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    said = capfd.readouterr().out
    assert ended.value.code == 1 and "here" in said and choose_device("cpu").type == "cpu"
    assert said.splitlines()[-2:] == ["  good  finished", "  bad   failed with status 1: see above"]
