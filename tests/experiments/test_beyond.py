"""Models beyond the paper: their rows, how they are compared with their twins, their table, and how they are run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT
from record_fixtures import put, record_of, template

from snf_lite.cli import main
from snf_lite.commands import studies
from snf_lite.experiments import manifest, results
from snf_lite.experiments import record as runs
from snf_lite.experiments.paper_tables import ALL_ROWS, BEYOND, BEYOND_TWINS, ROWS, TWINS, row_of, rows_for, with_twins
from snf_lite.experiments.report import report


@pytest.fixture(scope="module")
def like() -> runs.TrainingRecord:
    return template()


def fast(row: str, seed: int = 0, data: str = "mnist", epochs: int = 60, **settings: Any) -> Any:
    return ALL_ROWS[row].run_config("fast", data, seed, epochs, **settings)


def put_bench(folder: Path, medians: dict[str, float], date: str) -> None:
    """A record of a benchmark of whole models with these seconds a step, the first being the baseline's."""
    stored = json.loads((ROOT / "data" / "runs" / "bench-models" / "bench.json").read_text("utf-8"))
    (name, case), *_ = stored["cases"].items()
    baseline, entry = next(iter(medians)), next(iter(case["contenders"].values()))
    case["floor"], case["contenders"] = (
        baseline,
        {
            model: {**entry, "median": seconds, "ratio": seconds / medians[baseline]}
            for model, seconds in medians.items()
        },
    )
    folder.mkdir()
    (folder / "bench.json").write_text(json.dumps({**stored, "cases": {name: case}, "date": date}), "utf-8")


def test_rows_beyond_the_paper_have_its_settings_and_no_results() -> None:
    assert {row.model for row in BEYOND.values()} == set(BEYOND_TWINS) and not set(BEYOND) & set(ROWS)
    for name, row in BEYOND.items():
        assert (row.reported, row.table, row.unit) == (None, None, "nats")
        exact, learned, own = (ALL_ROWS[each] for each in with_twins(name))
        assert exact.model == BEYOND_TWINS[row.model] == TWINS[learned.model] and own is row
        assert (exact.data, exact.family) == (learned.data, learned.family) == (row.data, row.family)
        assert not [name for data in ("mnist", "digits", "cifar10") if name in rows_for(data)]


def test_a_model_beyond_the_paper_is_compared_with_both_models_of_the_paper(like: runs.TrainingRecord) -> None:
    records = {
        "new0": record_of(fast("dense-tracked", 0), 954.5, like),
        "new1": record_of(fast("dense-tracked", 1, every=5), 953.0, like),
        "exact0": record_of(fast("dense-exact", 0), 954.0, like),
        "exact1": record_of(fast("dense-exact", 1), 953.5, like),
        "learned0": record_of(fast("dense-selfnorm", 0), 956.0, like),
        "tied0": record_of(fast("dense-selfnorm", 0, recon_weight=10.0), 960.0, like),
        "other": record_of(fast("conv-exact", 0), 700.0, like),
    }
    groups = results.grouped(records)
    assert [pair.mean for pair in results.parities(groups)] == [2.0, 6.0]  # the paper's pairs alone
    found = results.comparisons(groups)
    assert [(one.beyond.gaps, one.paper and one.paper.gaps) for one in found] == [
        ({0: 0.5}, {0: 2.0}), ({1: -0.5}, {0: 2.0}),
    ]  # fmt: skip
    records["learned0"] = record_of(fast("dense-selfnorm", 0, epochs=70), 956.0, like)
    assert [one.paper for one in results.comparisons(results.grouped(records))] == [None, None]
    records["exact0"] = records["exact1"] = records["other"]
    assert results.comparisons(results.grouped(records)) == []


def test_color_images_have_their_own_row_of_glow_and_the_common_one_of_other_models(
    like: runs.TrainingRecord,
) -> None:
    for model, row in (("glow-unbiased", "cifar10-glow-unbiased"), ("conv-exact", "conv-exact")):
        assert (found := row_of(model, "cifar10")) and found.name == row
    assert row_of("glow-unbiased", "digits") == BEYOND["glow-unbiased"] and row_of("spline-exact", "mnist") is None
    nats = {"exact": 8818.0, "selfnorm": 8898.0, "unbiased": 8815.0}
    records = {
        f"{family}-{kind}": record_of(fast(f"{start}{family}-{kind}", data="cifar10"), value, like)
        for family, start in (("glow", "cifar10-"), ("conv", "")) for kind, value in nats.items()
    }  # fmt: skip
    records["tie10"] = record_of(fast("cifar10-glow-selfnorm", data="cifar10", recon_weight=10.0), 8845.0, like)
    groups = results.grouped(records)
    assert sum(len(group.records) for group in groups) == len(records)
    found = results.comparisons(groups)  # the paper's λ is 1000 on color images, not the model's default
    assert [(one.beyond.gaps, one.paper and one.paper.gaps) for one in found] == [({0: -3.0}, {0: 80.0})] * 2
    assert {one.paper.learned.first.model["name"] for one in found if one.paper} == {"glow-selfnorm", "conv-selfnorm"}
    table = report(groups).partition("Beyond the paper: ")[2]  # in nats throughout, though table 2 is in bits/dim
    assert re.search(r"glow on cifar10, 60 epochs\n  Glow, 3 × 4 steps, width 32 +8818\.00\n", table)


def test_the_table_beyond_the_paper(like: runs.TrainingRecord, tmp_path: Path, capsys: Any) -> None:
    for seed, values in enumerate([(950.0, 953.0, 950.5), (951.0, 953.0, 951.1)]):
        for kind, nats in zip(("exact", "selfnorm", "tracked"), values, strict=True):
            put(tmp_path, f"{kind}{seed}", fast(f"dense-{kind}", seed), nats, like)
    put(tmp_path, "exact2", fast("dense-exact", 2), 990.0, like)
    put(tmp_path, "close", fast("dense-tracked", 0, tolerance=0.1), 950.2, like)
    put(tmp_path, "lone", fast("conv-unbiased"), 700.0, like)
    for date, exact in (("2026-01-02", 8.0), ("2026-01-01", 5.0)):
        put_bench(tmp_path / date, {"dense-exact": exact, "dense-selfnorm": 3.0, "dense-tracked": 2.0}, date)
    assert main(["results", "--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    table = shown.partition("Beyond the paper: ")[2].partition("\n\n")[0]
    assert re.search(r"dense on mnist, 60 epochs\n  exact gradient, dense 2-layer +950\.50\n", table)
    assert re.search(r"  self-normalizing, dense 2-layer +953\.00 +\+2\.500 ± 0\.500\n", table)
    assert re.search(r"  tracked inverse, dense 2-layer +950\.80 +\+0\.300 ± 0\.200\n", table)
    assert "2 pairs: +0.500, +0.100; a step 0.25 of the exact twin's; tracked0, tracked1" in " ".join(table.split())
    assert table.count("exact gradient, dense 2-layer") == 1
    assert "1 pair: +0.200; tolerance 0.1; close" in " ".join(table.split())  # a step was timed at the defaults alone
    assert "a step 0.38 of the exact twin's" in " ".join(table.split())  # 3 / 8, of the newer record
    assert re.search(r"unbiased convolution, 9-layer +– +700\.00\n", table) and "no exact twin was run" in table
    for start, data in (("", "mnist"), ("cifar10-", "cifar10")):
        rows = " ".join(f"{start}glow-{kind}" for kind in ("exact", "selfnorm", "unbiased"))
        assert f"reproduce --rows {rows} --data {data} --repeats 3 --out {tmp_path}" in " ".join(table.split())
    assert "dense-tracked --data" not in table
    assert all(row.title not in shown.partition("Beyond the paper")[0] for row in BEYOND.values())


# ---- how they are run ------------------------------------------------------------------------------------------------


def test_all_rows_beyond_the_paper_are_run_with_their_twins_by_one_word(
    tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["reproduce", "--rows", "beyond", "dense-relative", "--epochs", "1"]
    small = [word for setting in ("steps=1", "width=4", "bins=2", "blocks=1") for word in ("--set", setting)]
    assert main([*words, *small]) == 0
    found = results.read_all(Path("runs"))
    beyond = [name for name, row in BEYOND.items() if row.data == "mnist"]
    wanted = {name for new in beyond for name in with_twins(new)} | {"dense-relative"}
    assert {record.model["name"] for record in found.values()} == wanted and len(found) == 10
    for name, record in found.items():
        assert record.history["validation_nats"][1] < record.history["validation_nats"][0], name
    plan = json.loads(Path("runs/reproduce-fast-digits-beyond-dense-relative/plan.json").read_text("utf-8"))
    assert [row for row in plan["rows"] if row in BEYOND] == beyond
    compared = results.comparisons(results.grouped(found))
    assert [one.beyond.learned.row.name for one in compared] == beyond
    assert all(one.paper is not None and list(one.beyond.gaps) == [0] for one in compared)
    manifest.write_index(Path("runs"))
    assert manifest.check(Path("runs")) == []


def test_the_rows_beyond_the_paper_are_those_of_the_data(monkeypatch: Any) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(studies, "reproduce", lambda config, *others: asked.append(config.rows))
    for data in ("digits", "cifar10"):
        assert main(["reproduce", "--rows", "beyond", "--data", data, "--epochs", "1"]) == 0
    small, colors = asked
    assert {"glow-unbiased", "glow-selfnorm", "glow-exact", "dense-tracked", "conv-unbiased"} < set(small)
    assert not [row for row in small if row.startswith("cifar10")]
    swapped = [row.removeprefix("cifar10-") for row in colors]
    assert swapped == list(small) and [row for row in colors if "glow" in row and not row.startswith("cifar10-")] == []


def test_a_record_beyond_the_paper_in_anothers_folder_is_found(like: runs.TrainingRecord, tmp_path: Path) -> None:
    put(tmp_path, "fast-dense-tracked-mnist-seed0", fast("dense-tracked"), 954.0, like)
    put(tmp_path, "fast-dense-tracked-mnist-seed1", fast("dense-tracked", 1, every=3), 954.0, like)
    put(tmp_path, "fast-conv-unbiased-mnist-seed2", fast("conv-unbiased", 1), 700.0, like)
    manifest.write_index(tmp_path)
    wrong = manifest.check(tmp_path)
    assert len(wrong) == 2 and "holds the record of conv-unbiased on mnist with seed 1" in wrong[0]
    assert "fast-dense-tracked-mnist-seed1: holds a record with other settings than those of the preset" in wrong[1]


def test_the_default_rows_are_those_of_the_paper(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "(default: those of the data, all of the paper)" in shown and "beyond the paper: dense-tracked" in shown
