"""Guided Segmentation's guides, under the name that users import."""

from weakseg.supervision.guides import fuse_g0, fuse_g1, fuse_g2, oracle_saliency

__all__ = ["fuse_g0", "fuse_g1", "fuse_g2", "oracle_saliency"]
