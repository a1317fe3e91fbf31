"""Inspector: one answer → the HTML of its tabs, a file each.

They only draw what the answer holds: each computes what its template shows.
"""

from vlm_demo.ui.tabs.inspect.panels import (
    checks_panel,
    heatmap_panel,
    model_view_panel,
    ocr_panel,
    prompt_panel,
    stages_panel,
)

__all__ = ["checks_panel", "heatmap_panel", "model_view_panel", "ocr_panel", "prompt_panel", "stages_panel"]
