"""``python -m darc.box``"""

import sys

from darc.box.main import main

sys.exit(main())
