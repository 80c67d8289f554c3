"""Leave out saliency photos that show the target classes, by the tag classifier's own scores (GS §6.1)."""

import numpy as np
from tqdm import tqdm

from weakseg.errors import UserError
from weakseg.files import SaliencyRecord, read_saliency_manifest, write_saliency_manifest
from weakseg.networks import rebuild_classifier
from weakseg.runtime import arguments, pick_device, run
from weakseg.settings import SelectSaliencyPhotos, read_keys
from weakseg.training import scores

BATCH_SIZE = 16


def main() -> None:
    paths = arguments(
        __doc__, manifest="saliency manifest", classifier="folder of the tag classifier", out="CSV to write"
    ).parse_args()
    settings: SelectSaliencyPhotos = read_keys("select_saliency_photos", files=paths.params)
    records = read_saliency_manifest(paths.manifest)
    if settings.exclude_scores_above is not None:
        network, description = rebuild_classifier(paths.classifier)
        device = pick_device()
        batches = scores(
            network.to(device), records, description["input_px"], description["geometry"], device, BATCH_SIZE
        )
        best = np.concatenate([batch.max(1) for batch in tqdm(batches, "scores", unit="batch", disable=None)])
        kept = without_classes(records, best, settings.exclude_scores_above)
        print(f"{len(records) - len(kept)} of {len(records)} saliency photos show the classes and are left out")
        records = kept
    write_saliency_manifest(paths.out, records)


def without_classes(records: list[SaliencyRecord], best: "np.ndarray", above: float) -> list[SaliencyRecord]:
    """The photos whose best class has a probability of at most `above`; best (N,) is its score before the sigmoid."""
    probability = 1 / (1 + np.exp(-best.astype(np.float64)))
    kept = [record for record, value in zip(records, probability.tolist(), strict=True) if value <= above]
    if not kept:
        raise UserError(f"select_saliency_photos.exclude_scores_above: {above} leaves no saliency photo; raise it")
    return kept


if __name__ == "__main__":
    run(main)
