from . import launch as launch, resources as resources
from .communication import (
    agreed as agreed,
    average as average,
    first_message as first_message,
    join_job as join_job,
    same_in_all as same_in_all,
    wait as wait,
)
from .devices import (
    compiled as compiled,
    pick_device as pick_device,
    to_device as to_device,
)
from .identity import identity_of as identity_of
from .launch import is_first as is_first, processes as processes, rank as rank
from .lifetime import end_with_dvc as end_with_dvc, end_with_parent as end_with_parent
from .progress import with_progress as with_progress
from .stage import (
    MALLOC_SETTINGS as MALLOC_SETTINGS,
    NAME as NAME,
    arguments as arguments,
    end_quietly_until_run as end_quietly_until_run,
    filled as filled,
    run as run,
    run_command as run_command,
    start_again_with_memory_settings as start_again_with_memory_settings,
)
from .workers import worker_count as worker_count
