from .partial_results import Unfinished as Unfinished
from .photo_batches import in_batches as in_batches, through_network as through_network
from .sharing import (
    share as share,
    write_shared_arrays as write_shared_arrays,
    write_shared_images as write_shared_images,
)
from .workers import map_images as map_images, with_progress as with_progress
