"""How good cues, seeds and guides are: coverage, and precision and recall against the ground truth."""

from weakseg.evaluation import supervision_metrics
from weakseg.files import ArrayArchive, ImageArchive, read_class_names, read_manifest, write_json
from weakseg.runtime import arguments, run
from weakseg.settings import EvaluateSupervision, read_keys


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", classes="class names", ground_truth=".zip of masks", cues=".npz of cues",
        seeds=".zip of seeds", guides="folder of guides", oracle=".zip of oracle guides", cue_metrics="JSON to write",
        guide_metrics="JSON to write",
    ).parse_args()  # fmt: skip
    settings: EvaluateSupervision = read_keys("evaluate_supervision", options=paths)
    num_classes = len(read_class_names(paths.classes))
    records = read_manifest(paths.manifest, "train", num_classes=num_classes)
    truth = ImageArchive(paths.ground_truth)
    write_json(paths.cue_metrics, supervision_metrics(ArrayArchive(paths.cues), records, truth, num_classes, "cues"))
    sources = {"seeds": paths.seeds} | {rule: paths.guides / f"{rule}.zip" for rule in settings.guides}
    archives = {name: ImageArchive(path) for name, path in {**sources, "oracle": paths.oracle}.items()}
    content = {
        name: supervision_metrics(archive, records, truth, num_classes, name) for name, archive in archives.items()
    }
    write_json(paths.guide_metrics, content)


if __name__ == "__main__":
    run(main)
