"""What a trade costs: benches of single parts, and `python -m tests.bench`, the whole mesh."""
