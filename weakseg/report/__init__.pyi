from .pictures import paint as paint, photo_at as photo_at, resize_labels as resize_labels, spread as spread
from .seed_charts import Curve as Curve, seeder_chart as seeder_chart
from .sheets import write_first_look as write_first_look
from .sources import ReportSources as ReportSources
from .tables import summary_table as summary_table, undecided_pairs as undecided_pairs
from .write import write_report as write_report
