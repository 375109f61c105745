# PYTHON_ARGCOMPLETE_OK
from animevsr_cli import main

main()
