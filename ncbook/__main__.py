from ncbook.cli.app import main

main()
