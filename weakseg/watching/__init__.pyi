from .photo_sample import PhotoSample as PhotoSample
from .tensorboard_events import EventFile as EventFile, event_file as event_file
