"""The pipeline's stages, one script each: read params, load, compute, write."""

import sys

if sys.argv[0] == "-m":  # Python is about to run one of them
    from weakseg.runtime import end_quietly_until_run, start_again_with_memory_settings
    from weakseg.warm_start import start_warm

    end_quietly_until_run()
    start_warm()
    start_again_with_memory_settings()
