"""`python -m rewarm.cli`."""

from . import main

if __name__ == "__main__":  # a reader process of the demo imports this module too
    main()
