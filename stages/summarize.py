"""Put the experiments side by side: mIoU without and with CRF, and per cent of the supervised bound."""

from weakseg.evaluation import metrics_of, summary_of
from weakseg.files import ArrayArchive, read_class_names, read_counts, write_json
from weakseg.runtime import arguments, run
from weakseg.settings import Experiment, read_keys


def main() -> None:
    paths = arguments(
        __doc__, classes="class names", evaluation="folder of confusion matrices", out="JSON to write"
    ).parse_args()
    experiments: dict[str, Experiment]
    experiments, bound = read_keys("experiments", "report.bound", options=paths)
    class_names, metrics = read_class_names(paths.classes), {}
    for name in experiments:
        confusions = ArrayArchive(paths.evaluation / f"{name}.npz")
        raw, crf = (read_counts(confusions, f"{kind}/confusion", len(class_names)) for kind in ("raw", "crf"))
        metrics[name] = metrics_of(raw, crf, class_names)
    write_json(paths.out, summary_of(metrics, bound))


if __name__ == "__main__":
    run(main)
