"""Makes the campaign and its helpers, and the maker of prompt-law data beside it, importable by their bare names."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (str(HERE), str(HERE.parent / "prompt_law")):
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: the kernel's tests import a conftest of their own by name
