"""Small helpers that know nothing of networks, data or video."""
