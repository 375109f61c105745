"""Reading, writing and re-encoding video, in process (PyAV)."""
