"""Start Tagbrush (`python webui.py`) or its tests (`python webui.py test`); `--help` lists the options.

This file is written so that every Python can read it, if only to be told that it is too old.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("Tagbrush needs Python 3.11 or newer; this is Python %d.%d." % sys.version_info[:2])  # noqa: UP031

if __name__ == "__main__":
    try:
        from modules.bootstrap import main

        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
