from .archive import write_archive as write_archive
from .photo_batches import in_batches as in_batches, through_network as through_network
from .tasks import NetworkTask as NetworkTask
from .workers import map_images as map_images
