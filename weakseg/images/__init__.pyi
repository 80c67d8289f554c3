from . import photos as photos
from .network_inputs import input_sides as input_sides, network_input as network_input
from .photos import (
    PHOTO_SUFFIXES as PHOTO_SUFFIXES,
    PhotoFacts as PhotoFacts,
    inspect_photo as inspect_photo,
    photo_of as photo_of,
    read_mask as read_mask,
    read_photo as read_photo,
    read_record as read_record,
)
from .resizing import (
    SNAP_STRIDE as SNAP_STRIDE,
    enlarge_labels as enlarge_labels,
    grid_side as grid_side,
    input_size as input_size,
    rescale as rescale,
    resize_aligned as resize_aligned,
    resize_nearest as resize_nearest,
    upsample_aligned as upsample_aligned,
    warp_square as warp_square,
)
from .tensors import (
    as_image_tensor as as_image_tensor,
    as_map_tensor as as_map_tensor,
    padded_square as padded_square,
    resized as resized,
)
from .transforms import (
    classifier_input as classifier_input,
    crop_area as crop_area,
    crop_borders as crop_borders,
    flip as flip,
    jitter_colours as jitter_colours,
    pad_reflect as pad_reflect,
    random_crop as random_crop,
)
