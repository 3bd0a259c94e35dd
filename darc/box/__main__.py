"""``python -m darc.box``"""

import sys

from darc.box.command import main

sys.exit(main())
