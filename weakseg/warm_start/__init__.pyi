from .client import start_warm as start_warm
from .server import warm_starts as warm_starts
