"""Records -> what a person reads: a table for the terminal, one HTML page, a CSV. Needs neither torch nor network.

Example:
    plan = make_plan(load_recipe("recipes/arithmetic.yaml"), root)
    rich.print(results_table(plan))
    write_report(plan, root / "arithmetic.html")
"""

from reasoning_pipeline.report.arms.outcomes import has_arms
from reasoning_pipeline.report.arms.text import arms_table
from reasoning_pipeline.report.build import write_arms_csv, write_csv, write_part_tables, write_report
from reasoning_pipeline.report.results import Accuracy, StageResult, results_table, stage_results

__all__ = [
    "Accuracy",
    "StageResult",
    "arms_table",
    "has_arms",
    "results_table",
    "stage_results",
    "write_arms_csv",
    "write_csv",
    "write_part_tables",
    "write_report",
]
