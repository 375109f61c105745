"""`animevsr app`: the same functions as the command line, on a local page in the browser."""

import os

os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'  # before its import: nothing is told to anyone
os.environ['HF_HUB_OFFLINE'] = '1'
