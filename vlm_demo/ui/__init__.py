"""The web page: chat on the left, the inspector of the shown answer on the right. Knows ``Engine``, never torch."""
