from ncbook.cli import main

main()
