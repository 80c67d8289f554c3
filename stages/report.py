"""Write the report: results table, curves, contact sheets, and a page to browse."""

from dataclasses import replace
from pathlib import Path

from weakseg.files import VOC_CLASSES, read_class_names, read_json
from weakseg.report import ReportSources, summary_table, undecided_pairs, write_report
from weakseg.runtime import arguments, run
from weakseg.settings import Experiment, Report, read_keys


def main() -> None:
    parser = arguments(
        __doc__,
        published="YAML of the papers' numbers",
        data="folder of the pipeline's artifacts",
        metrics="folder of metrics",
        out="folder to write",
    )
    paths = parser.parse_args()
    experiments: dict[str, Experiment]
    settings: Report
    experiments, settings = read_keys("experiments", "report", options=paths)
    found = sources(paths.data, paths.metrics, paths.published, experiments, settings)
    if tuple(read_class_names(found.classes)[1:]) != VOC_CLASSES:
        found = replace(found, published=None)  # the papers' numbers are of VOC alone
    write_report(paths.out, found)
    undecided = undecided_pairs(read_json(paths.metrics / "comparisons.json"))
    print(summary_table(read_json(paths.metrics / "summary.json")), *([undecided] if undecided else []), sep="\n")
    print(f"pictures: {paths.out / 'index.html'}")


def sources(
    data: Path, metrics: Path, published: Path, experiments: dict[str, Experiment], settings: Report
) -> ReportSources:
    return ReportSources(
        manifest=data / "manifest.csv", classes=data / "classes.txt", experiments=tuple(experiments),
        supervision={name: Path(experiment.train.supervision).stem for name, experiment in experiments.items()},
        cues=data / "cues.npz", seeds=data / "seeds.zip", saliency=data / "saliency.zip", guides=data / "guides",
        ground_truth=data / "ground_truth.zip", raw_masks=data / "raw_masks", masks=data / "masks",
        evaluation=data / "evaluation", metrics=metrics, training=metrics / "training",
        seeders=metrics / "seeders", published=published,
        num_sheet_images=settings.images, progress=data / "progress",
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
