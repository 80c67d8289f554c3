"""Write the report: results table, curves, contact sheets, and a page to browse."""

from pathlib import Path

from weakseg.files import VOC_CLASSES, read_class_names, read_json
from weakseg.report import ReportSources, summary_table, write_report
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
    write_report(paths.out, sources(paths.data, paths.metrics, paths.published, experiments, settings))
    print(summary_table(read_json(paths.metrics / "summary.json")))
    print(f"pictures: {paths.out / 'index.html'}")


def sources(
    data: Path, metrics: Path, published: Path, experiments: dict[str, Experiment], settings: Report
) -> ReportSources:
    is_voc = tuple(read_class_names(data / "classes.txt")[1:]) == VOC_CLASSES  # the papers' numbers are of VOC alone
    return ReportSources(
        manifest=data / "manifest.csv", classes=data / "classes.txt", experiments=tuple(experiments),
        supervision={name: Path(experiment.train.supervision).stem for name, experiment in experiments.items()},
        cues=data / "cues.npz", seeds=data / "seeds.zip", saliency=data / "saliency.zip", guides=data / "guides",
        ground_truth=data / "ground_truth.zip", raw_masks=data / "raw_masks", masks=data / "masks",
        evaluation=data / "evaluation", metrics=metrics, training=metrics / "training",
        seeders=metrics / "seeders", published=published if is_voc else None,
        num_sheet_images=settings.images, validation=metrics / "validation",
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
