from weakseg.photo_segmenter import PhotoSegmenter as PhotoSegmenter
from weakseg.photo_segmenter import load_segmenter as load_segmenter
