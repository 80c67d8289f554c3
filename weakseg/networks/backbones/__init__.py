"""Feature extractors, one file per family: the `NAMES` that params.yaml uses, and the `FAMILY` that builds and loads
them."""
