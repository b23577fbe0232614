"""Makes the helpers of these tests importable by their bare names."""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)  # at the end: the kernel's tests import a conftest of their own by name
