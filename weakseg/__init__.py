"""weakseg: semantic segmentation from image-level tags (SEC and Guided Segmentation)."""
