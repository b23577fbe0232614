"""Makes the helpers of these tests, and those of the single layer beside them, importable by their bare names."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (str(HERE), str(HERE.parent / "single_layer")):
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: the kernel's tests import a conftest of their own by name
