from .coco import scan_coco as scan_coco
from .folder import scan_folder as scan_folder
from .saliency import scan_saliency as scan_saliency
from .scanning import Scan as Scan, is_photo_name as is_photo_name
from .voc import scan_voc as scan_voc
