"""A schema of a document, and what a model would answer to the question of each of its fields."""

from __future__ import annotations

SCHEMA = {
    "type": "object",
    "required": ["total", "company"],
    "properties": {
        "total": {"type": "number"},
        "company": {"type": "string", "title": "name of the shop"},
        "paid": {"type": ["boolean", "null"], "description": "Was it paid in cash?"},
        "currency": {"enum": ["EUR", "USD", None]},
        "buyer": {"type": "object", "properties": {"first_name": {}}},
    },
}
ANSWERS = {
    "What is the total?": "$1,234.50.",
    "What is the name of the shop?": " Corner Shop ",
    "Was it paid in cash?": "No, by card.",
    "What is the currency? Choose one of: EUR, USD.": "eur",
    "What is the buyer first name?": "Unknown.",
}
