"""The web page: chat on the left, the inside of that answer on the right. Knows ``Pipeline``, never torch."""
