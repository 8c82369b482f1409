"""``python -m snf_lite``."""

import sys

from snf_lite.cli import main

if __name__ == "__main__":
    sys.exit(main())
