from .drawing import Column as Column, Section as Section, contact_sheet as contact_sheet
from .sections import write_first_look as write_first_look, write_sheets as write_sheets
