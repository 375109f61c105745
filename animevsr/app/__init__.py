"""`animevsr app`: the same functions as the command line, on a local page in the browser."""
