"""The worker process: `python -m modules.engine` owns models and networks and does one job at a time."""
