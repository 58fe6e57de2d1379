from .collect import provenance as provenance
from .comparison import Entry as Entry, summarise as summarise
from .figure import save_picture as save_picture
from .methods.method import (
    Evaluation as Evaluation,
    FitRequest as FitRequest,
    Given as Given,
    Method as Method,
)
from .methods.registry import (
    get_method as get_method,
    method_names as method_names,
    register as register,
    registered as registered,
)
from .page import write_results as write_results
from .policy_return import evaluate_policy as evaluate_policy
from .predictions import Predictions as Predictions
from .protocol import (
    evaluate_prediction as evaluate_prediction,
    evaluate_return as evaluate_return,
    evaluate_true as evaluate_true,
    predict as predict,
    true_covariates as true_covariates,
)
from .records import read_records as read_records
from .runner import run_suite as run_suite
from .statistics import (
    Estimate as Estimate,
    interval as interval,
    probability_of_improvement as probability_of_improvement,
)
from .status import status_of as status_of
from .suite import Suite as Suite, load_suite as load_suite
from .training_sizes import sizes_markdown as sizes_markdown
