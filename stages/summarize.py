"""Put the experiments side by side: mIoU without and with CRF, per cent of the bound, and which differ by more than noise."""

from weakseg.evaluation import compared, metrics_of_trainings, read_trainings, summary_of
from weakseg.files import ArrayArchive, read_class_names, write_json
from weakseg.runtime import arguments, run
from weakseg.settings import Experiment, read_keys


def main() -> None:
    paths = arguments(
        __doc__, classes="class names", evaluation="folder of confusion counts", out="JSON to write",
        comparisons="JSON of the pairs of experiments to write",
    ).parse_args()  # fmt: skip
    experiments: dict[str, Experiment]
    experiments, bound = read_keys("experiments", "report.bound", options=paths)
    class_names = read_class_names(paths.classes)
    trainings = {
        name: read_trainings(ArrayArchive(paths.evaluation / f"{name}.npz"), len(class_names)) for name in experiments
    }
    metrics = {
        name: metrics_of_trainings(found.totals, class_names, found.random_seeds) for name, found in trainings.items()
    }
    rows = summary_of(metrics, bound)
    declared = {name: ", ".join(experiments[name].beyond_tags) for name in rows}
    write_json(paths.out, {name: {**row, "beyond_tags": declared[name]} for name, row in rows.items()})
    write_json(paths.comparisons, {"pairs": compared(trainings)})


if __name__ == "__main__":
    run(main)
