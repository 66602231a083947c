"""What `bulk.py` does: `plan.py` finds the units of work, `worker.py` does one, `pool.py` has Ray do all."""
