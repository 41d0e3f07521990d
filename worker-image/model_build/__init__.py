"""Build time only: from pinned downloads to a model directory that the worker loads."""
