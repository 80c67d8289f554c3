from .archives import (
    DAMAGED as DAMAGED,
    ArrayArchive as ArrayArchive,
    ImageArchive as ImageArchive,
    npy_bytes as npy_bytes,
    opened_zip as opened_zip,
    png_bytes as png_bytes,
    write_arrays as write_arrays,
    write_entries as write_entries,
    write_images as write_images,
)
from .atomic import (
    atomic_file as atomic_file,
    atomic_folder as atomic_folder,
    content_sha256 as content_sha256,
    file_sha256 as file_sha256,
    read_text as read_text,
    write_bytes as write_bytes,
    write_text as write_text,
)
from .class_names import (
    BACKGROUND as BACKGROUND,
    VOC_CLASSES as VOC_CLASSES,
    read_class_names as read_class_names,
    write_class_names as write_class_names,
)
from .label_masks import IGNORE_INDEX as IGNORE_INDEX, label_image as label_image, voc_palette as voc_palette
from .manifest import (
    Record as Record,
    SaliencyRecord as SaliencyRecord,
    read_manifest as read_manifest,
    read_saliency_manifest as read_saliency_manifest,
    write_manifest as write_manifest,
    write_saliency_manifest as write_saliency_manifest,
)
from .maps import (
    check_complete as check_complete,
    cue_arrays as cue_arrays,
    gradient_arrays as gradient_arrays,
    has_target as has_target,
    map_arrays as map_arrays,
    open_archive as open_archive,
    proposal_arrays as proposal_arrays,
    read_cams as read_cams,
    read_counts as read_counts,
    read_cues as read_cues,
    read_gradient as read_gradient,
    read_maps as read_maps,
    read_picture as read_picture,
    read_proposals as read_proposals,
    read_target as read_target,
)
from .tables import (
    read_json as read_json,
    read_table as read_table,
    write_json as write_json,
    write_table as write_table,
)
