"""The settings of every section of the configuration, one dataclass each.

They have no defaults: those are in conf/default.yaml and nowhere else. Units and meanings
that a name does not say are noted at the field, and for operators in that file.
"""

from darc.config.settings_node import (
    AlarmSettings,
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
    AmberListenerSettings,
    DadaTriggerSettings,
    IquvThresholds,
    LofarOverride,
    LofarThresholds,
    LofarTriggerSettings,
    VOEventGeneratorSettings,
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
    "AmberListenerSettings",
    "ClusterSettings",
    "ControlSettings",
    "DadaTriggerSettings",
    "EmailSettings",
    "HealthSettings",
    "IquvThresholds",
    "LofarOverride",
    "LofarThresholds",
    "LofarTriggerSettings",
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
    "VOEventGeneratorSettings",
]
