"""`python -m s4.entrypoints.cli`: the same as `s4`, where scripts are not on the path."""

from s4.entrypoints.cli.app import main

if __name__ == "__main__":
    main()
