"""``python -m mlxforge.service.cli``."""

from . import main

main()
