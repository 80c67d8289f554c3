"""`python -m weakseg.segment`: segment photos with a trained model."""

from weakseg.inference import segment_photos
from weakseg.runtime import run

if __name__ == "__main__":
    run(segment_photos, alone=False)
