"""`python3 docs` sets the project up where needed and builds the documentation site into `build/docs/site`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "server"))

from bootstrap import RUNTIME_LOCK, become  # noqa: E402 - only found once its folder is on the path

if __name__ == "__main__":
    become(ROOT, RUNTIME_LOCK, ["python", str(ROOT / "docs" / "build_site.py"), *sys.argv[1:]])
