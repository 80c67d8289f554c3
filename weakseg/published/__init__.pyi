from .class_tables import ClassNumbers as ClassNumbers, class_table as class_table
from .comparison import Compared as Compared, as_json as as_json, compare as compare, long_rows as long_rows
from .rows import (
    ClassColumn as ClassColumn,
    Numbers as Numbers,
    Published as Published,
    PublishedRow as PublishedRow,
    read_published as read_published,
)
from .tables import Table as Table, markdown_table as markdown_table, table_of as table_of, text_table as text_table
from .web_page import tables_page as tables_page
