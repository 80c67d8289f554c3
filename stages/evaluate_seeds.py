"""Measure a seeder on the val photos with their true tags: precision and recall over the threshold, mP and mAP."""

from weakseg.batch import through_network
from weakseg.cams import HeatMapTask
from weakseg.crf import CRFParams
from weakseg.evaluation import CURVE_COLUMNS, curve_rows, read_curve, seed_quality
from weakseg.files import ImageArchive, read_class_names, read_json, read_manifest, write_bytes, write_json, write_table
from weakseg.report import seeder_chart
from weakseg.runtime import arguments, run
from weakseg.settings import Cam, EvaluateSeeds, read_keys


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", classes="class names", ground_truth=".zip of masks", model="folder of the classifier",
        classifier_metrics="JSON of the classifier's mAP", baseline="CSV of the centre-mean baseline",
        metrics="JSON to write", curve="CSV to write", chart="PNG to write",
    ).parse_args()  # fmt: skip
    cam: Cam
    settings: EvaluateSeeds
    cam, settings = read_keys("classifiers.seeder.cam", "evaluate_seeds", files=paths.params)
    num_classes, truth = len(read_class_names(paths.classes)), ImageArchive(paths.ground_truth)
    records = [record for record in read_manifest(paths.manifest, "val") if record.image_id in truth]
    maps = through_network(HeatMapTask(paths.model, cam), records, "heat maps of val photos")
    photos = ((record, *found) for record, found in zip(records, maps, strict=True))
    crf = CRFParams(**settings.crf.model_dump()) if settings.crf else None
    curve = seed_quality.measured(photos, truth, num_classes, crf, settings.background_score).curve()
    classifier_map = read_json(paths.classifier_metrics).get("map")
    write_json(paths.metrics, seed_quality.seeder_metrics(curve, len(records), classifier_map))
    write_table(paths.curve, curve_rows(curve), list(CURVE_COLUMNS))
    curves = {paths.curve.stem: paths.curve, "centre mean": paths.baseline}
    write_bytes(paths.chart, seeder_chart({name: read_curve(path) for name, path in curves.items()}))


if __name__ == "__main__":
    run(main)
