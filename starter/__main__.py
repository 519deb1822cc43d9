"""`python -m starter`."""

from starter.app import main

if __name__ == "__main__":
    main()
