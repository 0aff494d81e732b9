"""`python3 tests` sets the project up where needed and runs the checks; `python3 tests --help` says which."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "server"))

from bootstrap import TEST_LOCK, become  # noqa: E402 - only found once its folder is on the path

if __name__ == "__main__":
    become(ROOT, TEST_LOCK, ["python", str(ROOT / "tests" / "checks.py"), *sys.argv[1:]])
