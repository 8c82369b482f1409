"""``python -m snf_book.temperatures RUN``: store the sheet of a trained run on gray images in the run's folder."""

import argparse
from pathlib import Path

from snf_book.temperatures import sheet
from snf_lite.data.datasets import load
from snf_lite.experiments.record import read_record
from snf_lite.runtime.files import atomic_write
from snf_lite.training.checkpoints import restore


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m snf_book.temperatures", description=__doc__)
    parser.add_argument("run", type=Path, help="folder with checkpoint.pt and record.json")
    folder = parser.parse_args(arguments).run
    images = load(read_record(folder / "record.json").data["test"]["name"], "test")
    assert images.levels, "images of a named data set have gray levels"
    made = sheet.sheet(restore(folder / "checkpoint.pt"), images)
    atomic_write(folder / sheet.FILE, sheet.png(made, images.levels, f"python -m snf_book.temperatures {folder.name}"))
    print(folder / sheet.FILE)


if __name__ == "__main__":
    main()
