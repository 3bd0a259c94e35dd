"""``python -m darc.services.processor``, which supervisord starts; the role gives its class."""

from darc.config.config import Role
from darc.node.node_config import load_node_config

match load_node_config().role:
    case Role.MASTER:
        from darc.services.processor.processor_master import ProcessorMasterManager

        ProcessorMasterManager.main()
    case Role.STANDALONE:
        from darc.services.processor.processor_alone import ProcessorAlone

        ProcessorAlone.main()
    case _:
        from darc.services.processor.service import ProcessorManager

        ProcessorManager.main()
