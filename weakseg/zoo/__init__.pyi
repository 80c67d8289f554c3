from .places import model_folder as model_folder
from .publishing import Card as Card, publish as publish
