"""The tables beside the paper's, parities, what differs, and the index that notices a lost or altered record."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT
from record_fixtures import put, record_of, template

from snf_lite.cli import main
from snf_lite.experiments import manifest, results
from snf_lite.experiments import record as runs
from snf_lite.experiments.paper_tables import PRESETS, ROWS, TWINS, rows_for
from snf_lite.experiments.report import report
from snf_lite.experiments.run import RunConfig


@pytest.fixture(scope="module")
def like() -> runs.TrainingRecord:
    return template()


def fast(row: str, seed: int = 0, data: str | None = None, **settings: Any) -> Any:
    return ROWS[row].run_config("fast", data or ROWS[row].data, seed, 60, **settings)


def changed(recipe: RunConfig, **training: Any) -> RunConfig:
    return replace(recipe, training=replace(recipe.training, **training))


# ---- groups, differences, parity -------------------------------------------------------------------------------------


def test_seeds_of_one_setting_stand_together_and_others_apart(like: runs.TrainingRecord) -> None:
    records = {
        "a": record_of(fast("dense-exact", 0), 950.0, like),
        "b": record_of(fast("dense-exact", 1), 954.0, like),
        "c": record_of(changed(fast("dense-exact", 2), lr=1e-2), 990.0, like),
        "d": record_of(fast("dense-exact", 0, "fashion_mnist"), 1500.0, like),
        "e": record_of(ROWS["dense-exact"].run_config("paper", "mnist", 0, 5), 1100.0, like),
    }
    groups = results.grouped(records)
    assert sorted(sorted(group.records) for group in groups) == [["a", "b"], ["c"], ["d"], ["e"]]
    (pair,) = (group for group in groups if "a" in group.records)
    assert (pair.mean, pair.deviation, pair.epochs, pair.batch_ms) == (952.0, pytest.approx(8**0.5), 60, 12.5)


def test_a_second_run_of_one_seed_stands_apart(like: runs.TrainingRecord) -> None:
    """As by several processes: settings and seed are equal and values are not; neither may hide the other."""
    recipe = fast("dense-exact", 0)
    records = {"a": record_of(recipe, 950.0, like), "b": record_of(recipe, 951.0, like)}
    records |= {"c": record_of(fast("dense-exact", 1), 954.0, like)}
    groups = results.grouped(records)
    assert [(sorted(group.records), group.mean) for group in groups] == [(["a", "c"], 952.0), (["b"], 951.0)]


def test_a_setting_told_as_it_is_anyway_is_no_difference(like: runs.TrainingRecord) -> None:
    told = fast("dense-selfnorm", 0, recon_weight=1.0, depth=2)
    records = {"a": record_of(told, 950.0, like), "b": record_of(fast("dense-selfnorm", 1), 952.0, like)}
    (group,) = results.grouped(records)
    assert not any("recon" in words or "depth" in words for words in group.differences())
    glow = record_of(ROWS["glow-selfnorm"].run_config("paper", "mnist", 0, 250), 576.0, like)
    assert results.grouped({"glow": glow})[0].differences() == []
    off = record_of(ROWS["dense-exact"].run_config("paper", "mnist", 0, 6000, front=False), 948.0, like)
    assert results.grouped({"off": off})[0].differences() == []


def test_a_smaller_model_is_not_called_what_it_is_not(like: runs.TrainingRecord) -> None:
    row = ROWS["glow-selfnorm"]
    small, whole = fast("glow-selfnorm"), row.run_config("paper", "mnist", 0, 250)
    (group,) = results.grouped({"small": record_of(small, 729.0, like)})
    assert group.title == "self-normalizing Glow, 2 × 4 steps, width 32"
    assert results.model_size(row, row.settings) == "2 × 16 steps, width 512"
    (group,) = results.grouped({"whole": record_of(whole, 576.0, like)})
    assert group.title == row.title == "self-normalizing Glow, 32-layer"
    (group,) = results.grouped({"dense": record_of(fast("dense-exact"), 950.0, like)})
    assert group.title == ROWS["dense-exact"].title and results.model_size(ROWS["dense-exact"], {}) == "dense 2-layer"


def test_the_report_calls_a_small_model_by_its_size(like: runs.TrainingRecord) -> None:
    groups = results.grouped({"small": record_of(fast("glow-exact"), 729.0, like)})
    lines = report(groups).splitlines()
    assert any(line.startswith("Glow, 2 × 4 steps, width 32 ") and line.endswith("729.00") for line in lines)
    assert not any(line.startswith("Glow, 32-layer") for line in lines)


def test_a_group_says_what_differs_from_the_paper(like: runs.TrainingRecord) -> None:
    (own,) = results.grouped({"own": record_of(ROWS["dense-exact"].run_config("paper", "mnist", 0, 6000), 948.0, like)})
    assert own.differences() == []
    (short,) = results.grouped({"s": record_of(ROWS["dense-exact"].run_config("paper", "mnist", 0, 7), 948.0, like)})
    assert short.differences() == ["epochs 7, not 6000"]
    (other,) = results.grouped({"o": record_of(fast("dense-selfnorm", 0, "digits", recon_weight=2.0), 100.0, like)})
    assert set(other.differences()) >= {
        "data digits, not mnist", "epochs 60, not 6000", "whiten", "front", "decay cosine, not constant",
        "recon weight 2.0", "warmup epochs 1.0, not 10.0",
    }  # fmt: skip


def test_a_group_names_the_preset_that_it_follows(like: runs.TrainingRecord) -> None:
    def preset_of(recipe: Any) -> str | None:
        (group,) = results.grouped({"one": record_of(recipe, 948.0, like)})
        return group.preset

    for name in PRESETS:
        assert preset_of(ROWS["glow-selfnorm"].run_config(name, "mnist", 2, 7)) == name
    same = ROWS["dense-selfnorm"].run_config("best", "mnist", 2, 7)
    assert preset_of(same) == "fast"
    assert preset_of(fast("dense-selfnorm", 0, recon_weight=2.0)) is None
    assert preset_of(changed(fast("dense-exact", 0), lr=0.5)) is None


@pytest.mark.equation("eq-parity")
def test_parity_is_over_common_seeds_at_equal_settings(like: runs.TrainingRecord) -> None:
    records = {
        "s0": record_of(fast("dense-selfnorm", 0), 955.0, like),
        "s1": record_of(fast("dense-selfnorm", 1), 957.0, like),
        "s2": record_of(fast("dense-selfnorm", 2), 900.0, like),
        "e0": record_of(fast("dense-exact", 0), 954.0, like),
        "e1": record_of(fast("dense-exact", 1), 953.0, like),
        "other": record_of(changed(fast("dense-exact", 2), lr=1e-2), 800.0, like),
    }
    (found,) = results.parities(results.grouped(records))
    assert found.gaps == {0: 1.0, 1: 4.0} and found.mean == 2.5
    longer = {**records, "e0": record_of(changed(fast("dense-exact", 0), epochs=70), 954.0, like)}
    assert [p.gaps for p in results.parities(results.grouped(longer))] == [{1: 4.0}]


def test_a_run_that_diverged_has_a_place_in_the_tables_but_no_gap(like: runs.TrainingRecord) -> None:
    records = {
        f"{kind}{seed}": record_of(fast(f"dense-{kind}", seed), 955.0, like)
        for kind in ("selfnorm", "exact") for seed in (0, 1)
    }  # fmt: skip
    start = like.history["validation_nats"][0]
    for between, last, diverged in ((7, 1.01, True), (0.9, 1.01, True), (7, 0.99, False)):  # times the start
        history = {**records["selfnorm1"].history, "validation_nats": [start, between * start, last * start]}
        groups = results.grouped({**records, "selfnorm1": replace(records["selfnorm1"], history=history)})
        assert [group.diverged for group in groups].count(True) == diverged
        (found,) = results.parities(groups)
        assert list(found.gaps) == ([0] if diverged else [0, 1])
        lines = [line for line in report(groups).splitlines() if line.startswith("self-normalizing, dense 2-layer")]
        assert sum(line.endswith(" diverged") for line in lines) == diverged


def test_lambda_is_the_learned_twins_own_affair(like: runs.TrainingRecord) -> None:
    records = {
        "s": record_of(fast("dense-selfnorm", 0, recon_weight=3.0), 955.0, like),
        "e": record_of(fast("dense-exact", 0), 954.0, like),
    }
    assert [p.mean for p in results.parities(results.grouped(records))] == [1.0]


@pytest.mark.equation("eq-paired-error")
def test_the_error_of_a_gap_is_that_of_its_mean_over_the_seeds(like: runs.TrainingRecord) -> None:
    values = {"selfnorm": (955.0, 957.0, 962.0), "exact": (954.0, 953.0, 955.0)}
    records = {
        f"{kind}{seed}": record_of(fast(f"dense-{kind}", seed), nats, like)
        for kind, found in values.items() for seed, nats in enumerate(found)
    }  # fmt: skip
    (found,) = results.parities(results.grouped(records))
    assert found.gaps == {0: 1.0, 1: 4.0, 2: 7.0} and found.standard_error == pytest.approx(3 / 3**0.5)
    assert found.values(found.exact) == [954.0, 953.0, 955.0]
    (single,) = results.parities(results.grouped({name: records[name] for name in ("exact1", "selfnorm1", "exact0")}))
    assert (single.mean, single.standard_error, single.values(single.exact)) == (4.0, None, [953.0])


# ---- the printed tables ----------------------------------------------------------------------------------------------


def test_the_tables_show_runs_and_how_to_run_the_others(like: runs.TrainingRecord, tmp_path: Path, capsys: Any) -> None:
    put(tmp_path, "one", fast("dense-selfnorm"), 951.23, like)
    put(tmp_path, "two", fast("dense-exact"), 950.0, like)
    put(tmp_path, "three", fast("dense-exact", 0, "fashion_mnist"), 1600.0, like)
    assert main(["results", "--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    row = r"self-normalizing, dense 2-layer +947\.1 ± 0\.2 +951\.23\n +1 seed, 60 epochs; "
    assert re.search(rf"{row}ms a batch 18\.7 / 12\.5, a sample", shown)
    assert re.search(r"on fashion_mnist, test nats .*\nexact gradient, dense 2-layer +– +1600\.00\n", shown)
    assert re.search(r"dense-selfnorm on mnist, 60 epochs +\+1\.23 nats\n +by seed: \+1\.23; one\n", shown)
    for row in ROWS.values():
        command = f"reproduce --rows {row.name} --data {row.data} --preset paper --out {tmp_path}"
        assert (command in " ".join(shown.split())) == (row.name not in ("dense-selfnorm", "dense-exact")), row.name
    assert shown.count("not those of the paper") == 2  # ImageNet32's two rows


def test_bits_per_dim_where_the_paper_has_them(like: runs.TrainingRecord, tmp_path: Path, capsys: Any) -> None:
    put(tmp_path, "cifar", fast("cifar10-glow-exact"), 7000.0, like)
    assert main(["results", "--runs", str(tmp_path)]) == 0
    assert re.search(r"Glow, 3 × 4 steps, width 32 +3\.360 ± 0\.002 +3\.287\d\n", capsys.readouterr().out)


def test_a_deviation_is_shown_where_there_are_several_seeds(
    like: runs.TrainingRecord, tmp_path: Path, capsys: Any
) -> None:
    for seed in (0, 1):
        put(tmp_path, f"seed{seed}", fast("dense-exact", seed), 950.0 + seed / 20, like)
    assert main(["results", "--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"exact gradient, dense 2-layer +947\.6 ± 0\.2 +950\.02 ± 0\.04\n +2 seeds", shown)
    wide = [line for line in shown.splitlines() if len(line) > 80 and str(tmp_path) not in line]
    assert not wide, "a folder's path may be longer; nothing else may"


def test_own_runs_are_found_beside_the_records(
    like: runs.TrainingRecord, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["results"]) == 0
    records = capsys.readouterr().out
    assert "Runs in runs" not in records and max(map(len, records.splitlines())) <= 80
    own = put(Path("runs"), "mine", RunConfig("dense-exact", "own.csv"), 3.337, like)
    assert main(["results"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(records.rstrip()) and re.search(
        r"Runs in runs.*\nmine 3\.34 ± .* nats, epoch \d+ of 100\n$", shown
    )
    assert main(["results", "--runs", str(own.parent.parent)]) == 0
    alone = capsys.readouterr().out
    assert "mine 3.34" in alone and "Table 1" not in alone


def test_every_row_of_the_paper_is_there() -> None:
    assert [sum(row.table == table for row in ROWS.values()) for table in (1, 2)] == [9, 4]
    assert {name for data in ("mnist", "cifar10", "imagenet32") for name in rows_for(data)} == set(ROWS)
    assert all({learned, exact} <= {row.model for row in ROWS.values()} for learned, exact in TWINS.items())


# ---- the index -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(like: runs.TrainingRecord, tmp_path: Path) -> Path:
    for seed in (0, 1):
        put(tmp_path, f"run{seed}", fast("dense-exact", seed), 950.0 + seed, like)
        (tmp_path / f"run{seed}" / "samples.png").write_bytes(b"picture %d" % seed)
    manifest.write_index(tmp_path)
    return tmp_path


def checked(folder: Path, capsys: Any) -> tuple[int, str]:
    code = main(["results", "--check", "--runs", str(folder)])
    out, err = capsys.readouterr()
    return code, out + err


def test_what_is_whole_passes(folder: Path, capsys: Any) -> None:
    (folder / "run0" / "checkpoint.pt").write_bytes(b"weights are not kept")
    assert checked(folder, capsys) == (0, f"{folder}: nothing missing, nothing altered\n")


def test_a_lost_altered_or_added_file_is_named(folder: Path, capsys: Any) -> None:
    (folder / "run0" / "samples.png").write_bytes(b"another picture")
    record = folder / "run1" / "record.json"
    record.write_text(record.read_text("utf-8").replace("951.0", "941.0"), "utf-8")
    (folder / "run2").mkdir()
    (folder / "run2" / "record.json").write_text(record.read_text("utf-8"), "utf-8")
    code, said = checked(folder, capsys)
    assert code == 1 and said.count("\n") == 1
    assert "run0/samples.png: has been altered" in said and "run1/record.json: has been altered" in said
    assert "run2/record.json: is not in index.json" in said
    (folder / "run0" / "record.json").unlink()
    assert "run0/record.json: is missing" in checked(folder, capsys)[1]
    assert main(["results", "--update-index", "--runs", str(folder)]) == 1  # a contradiction stays one
    assert "nats and bits/dim do not agree" in checked(folder, capsys)[1]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("seed",), 5, "its seed is not"),
        (("seconds",), 5.0, "its seconds are not"),
        (("command",), "python -m snf_lite train conv-exact", "another model's"),
        (("history", "steps"), [0], "columns differ in length"),
        (("results", "test", "nats"), 900.0, "do not agree"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    path: tuple[str, ...], value: Any, words: str, folder: Path, capsys: Any
) -> None:
    file = folder / "run0" / "record.json"
    stored = inner = json.loads(file.read_text("utf-8"))
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(stored), "utf-8")
    manifest.write_index(folder)
    code, said = checked(folder, capsys)
    assert (code == 1 and f"run0: {words}" in said) or words in said


def test_without_an_index_nothing_is_believed(tmp_path: Path, capsys: Any) -> None:
    code, said = checked(tmp_path, capsys)
    assert code == 1 and "index.json: there is no such index of runs" in said


def test_the_runs_of_record_are_whole(capsys: Any) -> None:
    assert checked(ROOT / "data" / "runs", capsys)[0] == 0


def test_the_runs_of_record_are_small() -> None:
    kept = [path for path in (ROOT / "data" / "runs").rglob("*") if path.suffix in manifest.KEPT]
    assert kept and max(path.stat().st_size for path in kept) < 1_000_000
