from .coco import make_coco14 as make_coco14
from .data_sets import NOTES as NOTES, fetch_data_set as fetch_data_set
from .saliency_sets import make_ecssd as make_ecssd, make_msra as make_msra
from .sources import Source as Source, Sources as Sources, read_sources as read_sources
from .transfer import fetch as fetch
from .unpacking import unpack as unpack
from .voc import make_voc12 as make_voc12
