"""What `make demo` and Hugging Face Spaces start; an installed package has `vlm-demo`. See vlm_demo/app.py."""

import sys

from vlm_demo.app import main

if __name__ == "__main__":
    sys.exit(main())
