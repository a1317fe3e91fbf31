"""`python -m vlm_demo`: hands the arguments to the command line."""

import sys

from vlm_demo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
