"""Makes the helpers of these tests importable by their bare names."""

from __future__ import annotations

import sys
from pathlib import Path

if (folder := str(Path(__file__).parent)) not in sys.path:
    sys.path.append(folder)  # at the end: the kernel's tests import a conftest of their own by name
