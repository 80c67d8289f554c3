"""Put the papers' numbers beside ours, for every row of their tables; what has not run yet is shown as missing."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from weakseg.evaluation import foreground_fraction, mean_iou, read_curve
from weakseg.files import ArrayArchive, read_counts, read_json, write_bytes, write_json, write_table, write_text
from weakseg.report import (
    Compared,
    Curve,
    Numbers,
    PublishedRow,
    as_json,
    compare,
    long_rows,
    markdown_table,
    read_published,
    seeder_chart,
    text_table,
)
from weakseg.runtime import arguments, run
from weakseg.settings import read_keys

COLUMNS = ["paper", "row", "name", "measure", "published", "ours"]


def main() -> None:
    paths = arguments(
        __doc__, published="YAML of the papers' numbers", evaluation="folder of params.yaml's experiments",
        ablations="folder of the ablations' experiments", guides="JSON of the guides' quality",
        ablation_guides="JSON of the ablations' guides' quality", seeders="folder of params.yaml's seeders' quality",
        ablation_seeders="folder of the ablations' seeders' quality", out="folder to write",
    ).parse_args()  # fmt: skip
    bound: str = read_keys("report.bound", options=paths)
    published = read_published(paths.published)
    sources: list[tuple[Sequence[PublishedRow], Callable[[str], Numbers | None]]] = [
        (published.experiments, partial(experiment_numbers, [paths.ablations, paths.evaluation])),
        (published.guides, partial(guide_numbers, [paths.ablation_guides, paths.guides])),
        (published.seeders, partial(seeder_numbers, [paths.ablation_seeders, paths.seeders])),
    ]
    tables = [compare(rows, ours, bound) for rows, ours in sources if rows]
    write_tables(paths.out, tables, ground_truth_foreground(paths.evaluation, bound))
    curves = seeder_curves([paths.ablation_seeders, paths.seeders], [row.seeder for row in published.seeders])
    write_bytes(paths.out / "seeders.png", seeder_chart(curves))


def experiment_numbers(folders: Sequence[Path], name: str) -> Numbers | None:
    """Per cent, from the confusion matrices of the first folder that has the experiment; None: not run."""
    for folder in folders:
        path = folder / f"{name}.npz"
        if path.is_file():
            archive = ArrayArchive(path)
            raw, crf = (read_counts(archive, f"{kind}/confusion") for kind in ("raw", "crf"))
            return {
                "miou": 100 * mean_iou(raw), "miou_crf": 100 * mean_iou(crf),
                "foreground": 100 * foreground_fraction(raw), "foreground_crf": 100 * foreground_fraction(crf),
            }  # fmt: skip
    return None


def guide_numbers(files: Sequence[Path], name: str) -> Numbers | None:
    """Precision and recall from the first file that has the guide; None: not run, or no ground truth."""
    for path in files:
        quality = read_json(path).get(name, {}) if path.is_file() else {}
        if measured := quality.get("against_ground_truth"):
            numbers: Numbers = measured
            return numbers
    return None


def seeder_numbers(folders: Sequence[Path], name: str) -> Numbers | None:
    """Per cent, from the first folder that has the seeder's JSON; None: not run."""
    for folder in folders:
        if (folder / f"{name}.json").is_file():
            numbers: Numbers = read_json(folder / f"{name}.json")
            return numbers
    return None


def seeder_curves(folders: Sequence[Path], names: Sequence[str]) -> dict[str, Curve]:
    """Precision over recall of those seeders that have run, as in GS's figure 3."""
    files = {
        name: next((path for folder in folders if (path := folder / f"{name}.csv").is_file()), None) for name in names
    }
    return {name: read_curve(path) for name, path in files.items() if path}


def ground_truth_foreground(folder: Path, bound: str) -> float | None:
    """Per cent of the val pixels that the ground truth calls any foreground class (SEC figure 6's yardstick)."""
    path = folder / f"{bound}.npz"
    return 100 * foreground_fraction(read_counts(ArrayArchive(path), "raw/confusion").T) if path.is_file() else None


def write_tables(folder: Path, tables: Sequence[list[Compared]], foreground: float | None) -> None:
    note = "" if foreground is None else f"Foreground in the ground truth: {foreground:.1f} % of the val pixels.\n"
    text = "\n".join(map(text_table, tables)) + note
    write_text(folder / "table.txt", text)
    write_text(folder / "table.md", "\n".join(map(markdown_table, tables)) + (note and f"\n{note}"))
    write_table(folder / "table.csv", (row for table in tables for row in long_rows(table)), COLUMNS)
    content = {table[0].row.title.lower(): as_json(table) for table in tables}
    write_json(folder / "table.json", {"ground_truth_foreground": foreground, **content})
    print(text, end="")


if __name__ == "__main__":
    run(main)
