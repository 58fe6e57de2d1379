"""Small helpers, each with one home."""
