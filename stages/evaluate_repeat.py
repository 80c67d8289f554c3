"""Compare the masks of a segmenter that `train_repeat` trained, without and with CRF, with the ground truth."""

from weakseg.batch import write_archive
from weakseg.evaluation import confusion_arrays
from weakseg.files import ArrayArchive, ImageArchive, read_class_names, read_manifest
from weakseg.inference import MaskConfusions, read_rule
from weakseg.runtime import arguments, filled, run
from weakseg.settings import repeat_of


def main() -> None:
    paths = arguments(
        __doc__, reads_params=False, named="which experiment and random seed, such as sec-1", manifest="manifest",
        classes="class names", ground_truth=".zip of masks", scores=".npz of scores",
        rule="the experiment's test_rule.json", out=".npz of each photo's confusion counts to write",
        checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    repeat = repeat_of(paths.name)
    filled(paths, experiment=repeat.experiment, seed=repeat.seed)
    num_classes = len(read_class_names(paths.classes))
    truth = ImageArchive(paths.ground_truth)
    val = read_manifest(paths.manifest, "val", num_classes=num_classes)
    files = ("manifest", "classes", "ground_truth", "scores", "rule")
    write_archive(
        paths.out, [record for record in val if record.image_id in truth],
        MaskConfusions(ArrayArchive(paths.scores), truth, read_rule(paths.rule.parent), num_classes),
        lambda record, confusions: confusion_arrays(record.image_id, confusions), f"evaluation of {paths.name}",
        depends_on=[], files={name: getattr(paths, name) for name in files}, checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
