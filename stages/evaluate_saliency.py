"""Compare saliency with the ground truth's foreground on the val photos."""

from functools import partial

from weakseg.batch import map_images
from weakseg.evaluation import foreground_iou, saliency_metrics
from weakseg.files import ImageArchive, Record, read_manifest, write_json
from weakseg.runtime import arguments, run
from weakseg.settings import read_keys
from weakseg.supervision import salient


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", ground_truth=".zip of masks", saliency=".zip of saliency", metrics="JSON to write"
    ).parse_args()
    threshold: float = read_keys("make_guides.saliency_threshold", files=paths.params)
    truth, saliency = ImageArchive(paths.ground_truth), ImageArchive(paths.saliency)
    records = [record for record in read_manifest(paths.manifest, "val") if record.image_id in truth]
    ious = map_images(partial(photo_iou, truth, saliency, threshold), records, "saliency against the ground truth")
    write_json(paths.metrics, saliency_metrics(list(ious)))


def photo_iou(truth: ImageArchive, saliency: ImageArchive, threshold: float, record: Record) -> float:
    return foreground_iou(truth[record.image_id], salient(threshold, saliency, record.image_id))


if __name__ == "__main__":
    run(main)
