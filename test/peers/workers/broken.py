"""A worker that cannot start: what it imports is not there."""

print("loading the model", flush=True)
raise ImportError("No module named 'the_model'")
