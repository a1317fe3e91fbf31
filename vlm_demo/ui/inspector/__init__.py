"""Inspector: one answer → the HTML of its tabs, a file each.

They only draw what the answer holds, and whatever a person, a picture or a model wrote is escaped.
"""

from vlm_demo.ui.inspector import heatmap, prompt, sees, stages, text

__all__ = ["heatmap", "prompt", "sees", "stages", "text"]
