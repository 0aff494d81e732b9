"""`python3 server ARGS` sets the project up where needed and does what `comity ARGS` does."""

import sys
from pathlib import Path

from bootstrap import RUNTIME_LOCK, become

if __name__ == "__main__":
    become(Path(__file__).resolve().parent.parent, RUNTIME_LOCK, ["comity", *(sys.argv[1:] or ["serve"])])
