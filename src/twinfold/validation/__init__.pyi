from .check import Check as Check
from .thresholds import THRESHOLDS as THRESHOLDS, ValidationThresholds as ValidationThresholds
from .validate import Validation as Validation
