"""Put the experiments side by side: mIoU without and with CRF, and per cent of the supervised bound."""

from weakseg.artifacts import ArrayArchive, read_class_names, write_json
from weakseg.evaluation import metrics_of, summarize
from weakseg.params import Experiment, read_keys
from weakseg.stage import arguments, run


def main() -> None:
    paths = arguments(
        __doc__, classes="class names", evaluation="folder of confusion matrices", out="JSON to write"
    ).parse_args()
    experiments: dict[str, Experiment]
    experiments, bound = read_keys("experiments", "report.bound", files=paths.params)
    class_names, metrics = read_class_names(paths.classes), {}
    for name in experiments:
        confusions = ArrayArchive(paths.evaluation / f"{name}.npz")
        metrics[name] = metrics_of(confusions["raw/confusion"], confusions["crf/confusion"], class_names)
    write_json(paths.out, summarize(metrics, bound))


if __name__ == "__main__":
    run(main)
