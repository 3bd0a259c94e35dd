"""The settings of a section of the configuration, one class each.

Those that only one service reads stand in its folder: ``darc/services/NAME/settings.py``.
They have no defaults: those are in conf/default.yaml and nowhere else. Units and meanings
that a name does not say are noted at the field, and for operators in that file.
"""

from darc.config.settings_node import (
    AlarmSettings,
    ChatSettings,
    ClusterSettings,
    ControlSettings,
    EmailSettings,
    HealthSettings,
    MailSettings,
    MasterSettings,
    MetricsSettings,
    StatusWebsiteSettings,
)
from darc.config.settings_pipeline import (
    AmberClusteringSettings,
    IquvThresholds,
    LofarOverride,
    LofarThresholds,
)
from darc.config.settings_processor import (
    OfflineProcessingSettings,
    ProcessorClassifier,
    ProcessorClustering,
    ProcessorExtractor,
    ProcessorMasterSettings,
    ProcessorSettings,
    ProcessorVisualizer,
    SchedulerTLS,
)

__all__ = [
    "AlarmSettings",
    "AmberClusteringSettings",
    "ChatSettings",
    "ClusterSettings",
    "ControlSettings",
    "EmailSettings",
    "HealthSettings",
    "IquvThresholds",
    "LofarOverride",
    "LofarThresholds",
    "MailSettings",
    "MasterSettings",
    "MetricsSettings",
    "OfflineProcessingSettings",
    "ProcessorClassifier",
    "ProcessorClustering",
    "ProcessorExtractor",
    "ProcessorMasterSettings",
    "ProcessorSettings",
    "ProcessorVisualizer",
    "SchedulerTLS",
    "StatusWebsiteSettings",
]
