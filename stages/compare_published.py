"""Put the papers' numbers beside ours, for every row of their tables; what has not run yet is shown as missing."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from weakseg.evaluation import foreground_fraction, iou_per_class, read_curve, read_totals, trainings_numbers
from weakseg.files import (
    ArrayArchive,
    read_class_names,
    read_counts,
    read_json,
    write_bytes,
    write_json,
    write_table,
    write_text,
)
from weakseg.published import (
    ClassColumn,
    ClassNumbers,
    Compared,
    Numbers,
    Published,
    PublishedRow,
    Table,
    as_json,
    class_table,
    compare,
    long_rows,
    markdown_table,
    read_published,
    table_of,
    tables_page,
    text_table,
)
from weakseg.report import Curve, seeder_chart
from weakseg.runtime import arguments, run
from weakseg.settings import read_keys

COLUMNS = ["paper", "row", "name", "measure", "published", "ours"]


def main() -> None:
    paths = arguments(
        __doc__, published="YAML of the papers' numbers", classes="class names", evaluation="folder of params.yaml's experiments",
        ablations="folder of the ablations' experiments", guides="JSON of the guides' quality",
        ablation_guides="JSON of the ablations' guides' quality", seeders="folder of params.yaml's seeders' quality",
        ablation_seeders="folder of the ablations' seeders' quality", out="folder to write",
    ).parse_args()  # fmt: skip
    bound: str = read_keys("report.bound", options=paths)
    published = read_published(paths.published)
    experiments = [paths.ablations, paths.evaluation]
    sources: list[tuple[Sequence[PublishedRow], Callable[[str], Numbers | None]]] = [
        (published.experiments, partial(experiment_numbers, experiments)),
        (published.methods, partial(method_numbers, experiments, published.server)),
        (published.guides, partial(guide_numbers, [paths.ablation_guides, paths.guides])),
        (published.seeders, partial(seeder_numbers, [paths.ablation_seeders, paths.seeders])),
    ]
    compared = [compare(rows, ours, bound) for rows, ours in sources if rows]
    by_class = class_tables(published, experiments, read_class_names(paths.classes))
    curves = seeder_curves([paths.ablation_seeders, paths.seeders], [row.seeder for row in published.seeders])
    chart = seeder_chart(curves)
    write_bytes(paths.out / "seeders.png", chart)
    write_tables(paths.out, compared, by_class, ground_truth_foreground(paths.evaluation, bound), chart)


def experiment_numbers(folders: Sequence[Path], name: str) -> Numbers | None:
    """Per cent, from the counts of the first folder that has the experiment; None: not run. Of several trainings the
    means, and standard deviations under names that end in `_sd`."""
    for folder in folders:
        path = folder / f"{name}.npz"
        if path.is_file():
            return trainings_numbers(read_totals(ArrayArchive(path)))
    return None


def method_numbers(folders: Sequence[Path], server: Mapping[str, float], name: str) -> Numbers | None:
    """As the papers' tables of results have them: val with CRF, and test from VOC's server; None: neither."""
    val, test = experiment_numbers(folders, name), server.get(name)
    if val is None and test is None:
        return None
    spread = {"val_sd": val["miou_crf_sd"]} if val and "miou_crf_sd" in val else {}
    return {"val": None if val is None else val["miou_crf"], **spread, "test": test}


def class_tables(published: Published, folders: Sequence[Path], class_names: Sequence[str]) -> list[Table]:
    """A table for each split of each of the papers' tables by class."""
    tables: dict[tuple[str, str], list[ClassColumn]] = {}
    for column in published.per_class:
        tables.setdefault((column.paper, column.split), []).append(column)
    on_val = partial(class_numbers, folders, class_names)
    on_test = partial(server_numbers, published.server)
    return [class_table(columns, on_val if split == "val" else on_test) for (_, split), columns in tables.items()]


def class_numbers(folders: Sequence[Path], class_names: Sequence[str], name: str) -> ClassNumbers | None:
    """With CRF, the mean over trainings, of the first folder that has the experiment; None: not run."""
    path = next((path for folder in folders if (path := folder / f"{name}.npz").is_file()), None)
    if path is None:
        return None
    totals = read_totals(ArrayArchive(path))
    classes = 100 * np.mean([iou_per_class(confusion) for _, confusion in totals], 0)
    return ClassNumbers(dict(zip(class_names, classes.tolist(), strict=True)), trainings_numbers(totals)["miou_crf"])


def server_numbers(server: Mapping[str, float], name: str) -> ClassNumbers | None:
    return ClassNumbers({}, server[name]) if name in server else None


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


def write_tables(
    folder: Path, compared: Sequence[list[Compared]], by_class: Sequence[Table], foreground: float | None, chart: bytes | None
) -> None:  # fmt: skip
    """`table.{txt,md,html}` with every table, `table.{csv,json}` with the numbers that have a row of their own."""
    notes = [] if foreground is None else [f"Foreground in the ground truth: {foreground:.1f} % of the val pixels."]
    tables = [*map(table_of, compared), *by_class]
    text = "\n".join([*map(text_table, tables), *(f"{note}\n" for note in notes)])
    write_text(folder / "table.txt", text)
    write_text(folder / "table.md", "\n".join([*map(markdown_table, tables), *(f"{note}\n" for note in notes)]))
    write_text(folder / "table.html", tables_page(tables, notes, chart))
    write_table(folder / "table.csv", (row for rows in compared for row in long_rows(rows)), COLUMNS)
    content = {rows[0].row.title.lower(): as_json(rows) for rows in compared}
    write_json(folder / "table.json", {"ground_truth_foreground": foreground, **content})
    print(text, end="")


if __name__ == "__main__":
    run(main)
