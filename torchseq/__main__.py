"""`python -m torchseq`."""

import sys

from torchseq.cli import main

if __name__ == "__main__":
    sys.exit(main())
