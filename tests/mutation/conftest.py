"""Makes the campaign and its helpers importable by their bare names, and the makers of prompt-law data and of
certificates by hand beside it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (str(HERE), str(HERE.parent / "prompt_law"), str(HERE.parent / "kernel")):
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: the kernel's tests import a conftest of their own by name
