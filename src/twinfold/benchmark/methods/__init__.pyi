from .method import (
    Evaluation as Evaluation,
    FitRequest as FitRequest,
    Given as Given,
    Method as Method,
)
from .registry import (
    get_method as get_method,
    method_names as method_names,
    register as register,
    registered as registered,
)
