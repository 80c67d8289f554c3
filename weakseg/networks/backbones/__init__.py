"""Feature extractors, one file a family: `NAMES` that params.yaml uses, and the `FAMILY` that builds and loads them."""
