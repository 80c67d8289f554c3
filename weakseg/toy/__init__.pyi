from .drawn_set import write_toy as write_toy
