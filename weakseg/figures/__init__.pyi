from .artifacts import Artifacts as Artifacts
from .drawing import Figure as Figure, Row as Row, draw as draw
from .listing import FIGURES as FIGURES
from .make import make_figures as make_figures
