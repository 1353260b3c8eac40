"""Benchmarks of the whole stack on one machine: `make bench`, or `python -m bench ingest growth idle`."""
