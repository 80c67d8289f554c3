from .published import (
    Compared as Compared,
    Numbers as Numbers,
    PublishedRow as PublishedRow,
    as_json as as_json,
    compare as compare,
    long_rows as long_rows,
    markdown_table as markdown_table,
    read_published as read_published,
    text_table as text_table,
)
from .seed_charts import Curve as Curve, seeder_chart as seeder_chart
from .sources import ReportSources as ReportSources
from .tables import summary_table as summary_table
from .write import write_report as write_report
