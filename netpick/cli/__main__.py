"""`python -m netpick.cli`."""

from netpick.cli import main

if __name__ == "__main__":
    main()
