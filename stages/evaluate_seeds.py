"""Measure a seeder on the val photos with their true tags: precision and recall over the threshold, mP and mAP."""

from weakseg import evaluation
from weakseg.batch import through_network
from weakseg.cams import HeatMapTask
from weakseg.crf import crf_params
from weakseg.files import ImageArchive, read_class_names, read_json, read_manifest, write_json, write_table
from weakseg.runtime import arguments, filled, run
from weakseg.settings import EvaluateSeeds, MakeCams, read_keys


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", classes="class names", ground_truth=".zip of masks", model="folder of the classifier",
        classifier_metrics="JSON of the classifier's mAP", metrics="JSON to write", curve="CSV to write",
    ).parse_args()  # fmt: skip
    settings: EvaluateSeeds = read_keys("evaluate_seeds", options=paths)
    cam: MakeCams
    cam, crf = read_keys(f"make_cams.{settings.net}", f"crf.{settings.crf}", options=paths)
    filled(paths, net=settings.net)
    num_classes, truth = len(read_class_names(paths.classes)), ImageArchive(paths.ground_truth)
    records = evaluation.measurable(read_manifest(paths.manifest, "val", num_classes=num_classes), truth)
    maps = through_network(HeatMapTask(paths.model, cam), records, "heat maps of val photos")
    photos = ((record, *found) for record, found in zip(records, maps, strict=True))
    refined_by = crf and crf_params(crf)
    curve = evaluation.measured(photos, truth, num_classes, refined_by, settings.background_score).curve()
    classifier_map = read_json(paths.classifier_metrics).get("map")
    write_json(paths.metrics, evaluation.seeder_metrics(curve, len(records), classifier_map))
    write_table(paths.curve, evaluation.curve_rows(curve), list(evaluation.CURVE_COLUMNS))


if __name__ == "__main__":
    run(main)
