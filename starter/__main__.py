"""`python -m starter`: the command `recourse` where it is not installed."""

from starter.app import main

if __name__ == "__main__":
    main()
