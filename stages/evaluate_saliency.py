"""Compare saliency with the ground truth's foreground on the val photos."""

from weakseg.batch import map_images
from weakseg.evaluation import SaliencyIou, saliency_metrics
from weakseg.files import ImageArchive, read_manifest, write_json
from weakseg.runtime import arguments, run
from weakseg.settings import EvaluateSaliency, read_keys


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", ground_truth=".zip of masks", saliency=".zip of saliency", metrics="JSON to write"
    ).parse_args()
    settings: EvaluateSaliency = read_keys("evaluate_saliency", options=paths)
    truth, saliency = ImageArchive(paths.ground_truth), ImageArchive(paths.saliency)
    records = [record for record in read_manifest(paths.manifest, "val") if record.image_id in truth]
    measure = SaliencyIou(truth, saliency, settings.threshold)
    write_json(paths.metrics, saliency_metrics(list(map_images(measure, records, "saliency against the ground truth"))))


if __name__ == "__main__":
    run(main)
