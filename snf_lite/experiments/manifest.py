"""The manifest of the stored runs: SHA-256 of every file, so that a missing or altered file is noticed."""

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from snf_lite.data.datasets import dataset_names
from snf_lite.experiments import ablation, preprocessing, record
from snf_lite.experiments.archive import INDEX, read_index
from snf_lite.experiments.paper_tables import ALL_ROWS, PRESETS
from snf_lite.models import known_settings, model_names
from snf_lite.runtime import files
from snf_lite.training.settings import completed

#: Suffixes of the files that are kept; checkpoints and data are not.
KEPT = (".json", ".png")


def checksums(folder: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of each kept file, by run and file name."""
    index: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*/*")):
        if path.suffix in KEPT and not path.name.startswith("."):
            index.setdefault(path.parent.name, {})[path.name] = files.sha256(files.read_regular(path, "file of a run"))
    return index


def write_index(folder: Path) -> Path:
    """Write the manifest of the files as they are."""
    path = folder / INDEX
    files.write_json(checksums(folder), path)
    return path


def check(folder: Path) -> list[str]:
    """Problems of the runs in a folder; empty if there are none.

    A file may be missing, altered or absent from the manifest; a record may be unreadable, contradict itself, or lie in
    a folder that is named after another run.

    Raises:
        FileNotFoundError, ValueError: There is no manifest, or it is not JSON.
    """
    index, found = read_index(folder), checksums(folder)
    changed = [problem for name in sorted({*index, *found}) for problem in _changes(name, index, found)]
    return changed + [problem for name in found for problem in _unreadable(folder / name)]


def _changes(name: str, index: dict[str, Any], found: dict[str, Any]) -> list[str]:
    there, here = index.get(name, {}), found.get(name, {})
    missing = [f"{name}/{file}: is missing" for file in there if file not in here]
    new = [f"{name}/{file}: is not in {INDEX}" for file in here if file not in there]
    altered = [f"{name}/{file}: has been altered" for file in here if there.get(file, here[file]) != here[file]]
    return missing + new + altered


def _unreadable(run: Path) -> list[str]:
    """Problems of the records in the folder of a run: unreadable, contradictory, or those of another run."""
    wrong = []
    try:
        if (run / "record.json").exists():
            wrong += _misplaced(run, record.read_record(run / "record.json"))
        if (run / preprocessing.FILE).exists():
            data = preprocessing.read(run / preprocessing.FILE).data["train"]["name"]
            default = "".join(re.findall(rf"^preprocessing-({'|'.join(dataset_names())})$", run.name))
            wrong += [f"{run.name}: holds the record of {data}"] if default not in ("", data) else []
        if any(run.glob(ablation.FILE.format("*"))):
            other = next(iter(ablation.read(run).values())).run
            wrong += [f"{run.name}: holds ablations of {other}"] if run.name != f"forks-{other}" else []
    except (ValueError, OSError) as error:
        return [str(error)]
    return wrong


def _settings_asked(folder: Path, preset: str, data: str, model: str) -> Iterator[dict[str, Any]]:
    """The settings of a model that the plans of a folder set beside the preset (``reproduce --set``)."""
    for path in sorted(folder.glob("*/plan.json")):
        asked = files.read_json(path, "plan").get("wish", {})
        if (asked.get("preset"), asked.get("data")) == (preset, data):
            known = known_settings(model)
            yield {key: value for key, value in asked.get("settings", {}).items() if key in known}


def _misplaced(run: Path, found: record.TrainingRecord) -> list[str]:
    """Differences of a record from the name of its folder, if that has the form that commands choose."""
    name = run.name
    models, data, presets = ("|".join(names) for names in (model_names(), dataset_names(), PRESETS))
    named = re.fullmatch(rf"(?:({presets})-)?.*?({models})(-.*)?-({data})-seed(\d+)", name)
    if not named:
        return []
    holds = f"{found.model['name']} on {found.data['train']['name']} with seed {found.seed}"
    if holds != f"{named[2]} on {named[4]} with seed {named[5]}":
        return [f"{name}: holds the record of {holds}"]
    if named[1] and not named[3] and name == f"{named[1]}-{named[2]}-{named[4]}-seed{named[5]}":
        settings, defaults = completed(found.history["settings"]), known_settings(named[2])
        rows = [row for row in ALL_ROWS.values() if row.model == named[2]]
        wanted = [
            row.run_config(named[1], named[4], found.seed, settings["epochs"], **asked)
            for row in rows for asked in ({}, *_settings_asked(run.parent, named[1], named[4], row.model))
        ]  # fmt: skip
        same = (
            asdict(one.training).items() <= settings.items()
            and {**defaults, **one.settings} == {**defaults, **found.model["settings"]}
            for one in wanted
        )
        if not any(same):
            return [
                f"{name}: holds a record with other settings than those of the preset {named[1]}; name it otherwise"
            ]
    return []
