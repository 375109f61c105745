from animevsr_cli import main

main()
