"""The pipeline's stages, one script each: read params, load, compute, write."""

import sys

from weakseg.runtime import end_quietly_until_run, start_again_with_memory_settings

if sys.argv[0] == "-m":  # Python is about to run one of them
    end_quietly_until_run()
    start_again_with_memory_settings()
