"""``python -m simulator.box``"""

import sys

from simulator.box.command import main

sys.exit(main())
