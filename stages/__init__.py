"""The pipeline's stages, one script each: read params, load, compute, write."""
