"""``python -m fastprop``: the ``fastprop`` command, where that is not on the path."""

import sys

from fastprop.cli import main

sys.exit(main())
